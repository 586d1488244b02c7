package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"image/jpeg"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/leveret-mq/leveret/examples/internal/demo"
	"github.com/leveret-mq/leveret/examples/internal/demotest"
)

func request(t *testing.T, ctx context.Context, method, url string, body []byte, header ...string) (int, http.Header, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, res.Header, data
}

func TestTheWholeJobOnTheRealBroker(t *testing.T) {
	ctx, b := demotest.Start(t)
	if err := declare(b); err != nil {
		t.Fatal(err)
	}
	server, err := startServer(ctx, b, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.close()

	// Taken while nobody works: every answer comes before any work.
	r := &Run{Source: generatedSource(3, 5, 400, 267)}
	if r.Uploaded, err = upload(ctx, server.URL, r.Source, nil); err != nil {
		t.Fatal(err)
	}
	if len(r.Uploaded.IDs) != 5 || len(r.Uploaded.Refused) != 0 {
		t.Fatalf("%d taken, refused %q", len(r.Uploaded.IDs), r.Uploaded.Refused)
	}
	workers, err := startWorkers(ctx, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Album.until(ctx, func(all []Picture, _ int64) bool { return finished(all)[2] == 5 }); err != nil {
		t.Fatal(err)
	}
	t.Run("thumbs come first, large pictures last", func(t *testing.T) {
		var order []string
		if err := b.ReadAll(ctx, "test-order", []string{albumQueue}, func(r *kgo.Record) error {
			order = append(order, strings.TrimPrefix(string(r.Key), donePfx))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		// A worker that is busy with one picture when the next one comes could not know; here all were there.
		want := slices.Concat(slices.Repeat([]string{takenKey}, 5), slices.Repeat([]string{"thumb"}, 5), slices.Repeat([]string{"medium"}, 5), slices.Repeat([]string{"large"}, 5))
		if !slices.Equal(order, want) {
			t.Errorf("%q", order)
		}
	})
	t.Run("what is replayed is what was there", func(t *testing.T) {
		if err := r.replay(ctx, b, server); err != nil {
			t.Fatal(err)
		}
		if faults := r.Faults(); len(faults) > 0 {
			t.Errorf("faults: %q", faults)
		}
		if r.Squares != 5 || r.Late.Pictures != 5 || r.Count.Early != 5 || r.Count.Shares["worker-1"] != 15 {
			t.Errorf("%d squares, %d seen late, %d thumbs early, shares %v", r.Squares, r.Late.Pictures, r.Count.Early, r.Count.Shares)
		}
		var out strings.Builder
		r.write(&out)
		for _, want := range []string{"5 pictures", "5 of 5 thumbs", "the same to the byte", "is there in every size"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the report does not say %q:\n%s", want, &out)
			}
		}
	})
	t.Run("the page", func(t *testing.T) { pageOf(t, ctx, server) })
	t.Run("what can't be read is told, and the others go on", func(t *testing.T) {
		_, whole, err := generated(9, 0, 400, 267)
		if err != nil {
			t.Fatal(err)
		}
		code, header, _ := request(t, ctx, "POST", server.URL+"pictures?name=torn", whole[:len(whole)/3])
		if code != http.StatusAccepted {
			t.Fatalf("answered %d", code)
		}
		id := strings.TrimPrefix(header.Get("Location"), "/pictures/")
		if err := server.Album.until(ctx, func([]Picture, int64) bool { p, _ := server.Album.picture(id); return len(p.Sizes) == len(sizes) }); err != nil {
			t.Fatal(err)
		}
		p, _ := server.Album.picture(id)
		for name, s := range p.Sizes {
			if !strings.Contains(s.Error, "damaged") {
				t.Errorf("%s: %q", name, s.Error)
			}
		}
		if code, _, _ := request(t, ctx, "GET", server.URL+"pictures/"+id+"/thumb.jpg", nil); code != http.StatusNotFound {
			t.Errorf("its thumb is answered %d", code)
		}
	})
	workers.Close()
	if err := context.Cause(workers.Context); err != context.Canceled {
		t.Errorf("a worker could not go on: %v", err)
	}
}

// pageOf looks at what a browser gets.
func pageOf(t *testing.T, ctx context.Context, server *Server) {
	all, _, _ := server.Album.since(0)
	first := all[0]
	code, header, body := request(t, ctx, "GET", server.URL, nil)
	if code != 200 || !bytes.Contains(body, []byte("<h1>Pictures</h1>")) || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("%d, %v", code, header)
	}
	for _, elsewhere := range []string{"http://", "https://", "//cdn"} {
		if bytes.Contains(body, []byte(elsewhere)) {
			t.Errorf("the page mentions %s", elsewhere)
		}
	}
	for file, kind := range map[string]string{"page.js": "text/javascript", "page.css": "text/css", "icon.svg": "image/svg+xml"} {
		if code, header, _ := request(t, ctx, "GET", server.URL+file, nil); code != 200 || !strings.HasPrefix(header.Get("Content-Type"), kind) {
			t.Errorf("%s: %d, %s", file, code, header.Get("Content-Type"))
		}
	}
	for _, size := range append(slices.Clone(sizes), square) {
		code, header, body := request(t, ctx, "GET", server.URL+"pictures/"+first.ID+"/"+size.Name+".jpg", nil)
		m, err := jpeg.DecodeConfig(bytes.NewReader(body))
		if code != 200 || err != nil || header.Get("Content-Type") != "image/jpeg" || m.Width != min(size.Edge, 400) {
			t.Errorf("%s: %d, %d wide, %v", size.Name, code, m.Width, err)
		}
	}
	code, _, body = request(t, ctx, "GET", server.URL+"pictures/"+first.ID, nil)
	var told Picture
	if err := json.Unmarshal(body, &told); code != 200 || err != nil || len(told.Sizes) != 4 || told.Name != first.Name {
		t.Errorf("status: %d %s %v", code, body, err)
	}

	req, _ := http.NewRequestWithContext(ctx, "GET", server.URL+"events", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	line, err := bufio.NewReader(res.Body).ReadString('\n')
	var shown []Picture
	if data, ok := strings.CutPrefix(line, "data: "); err != nil || !ok || json.Unmarshal([]byte(data), &shown) != nil || len(shown) != 5 {
		t.Errorf("the first event has %d pictures, %v", len(shown), err)
	}

	for name, x := range map[string]struct {
		body   []byte
		header []string
		want   int
	}{
		"no picture":          {[]byte("#!/bin/sh"), nil, http.StatusUnsupportedMediaType},
		"too large":           {make([]byte, maxUploadBytes+1), nil, http.StatusRequestEntityTooLarge},
		"from another's page": {[]byte("x"), []string{"Origin", "http://elsewhere.example", "Sec-Fetch-Site", "cross-site"}, http.StatusForbidden},
	} {
		if code, _, _ := request(t, ctx, "POST", server.URL+"pictures", x.body, x.header...); code != x.want {
			t.Errorf("%s: %d", name, code)
		}
	}
	for _, path := range []string{"pictures/none", "pictures/none/thumb.jpg", "pictures/" + first.ID + "/other.jpg", "server.go"} {
		if code, _, _ := request(t, ctx, "GET", server.URL+path, nil); code != http.StatusNotFound {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestOnesOwnPicturesAreFound(t *testing.T) {
	dir := t.TempDir()
	_, data, err := generated(1, 0, 40, 30)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b.JPG", "a.png", "notes.txt"} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	src, err := (&settings{pictures: dir, count: 1}).source()
	if err != nil || src.Count != 1 || !strings.Contains(src.Title, "2 pictures") {
		t.Fatalf("%v, %v", src, err)
	}
	if name, got, err := src.get(0); err != nil || name != "a.png" || !bytes.Equal(got, data) {
		t.Errorf("%s, %v", name, err)
	}
	if _, err := fileSource(t.TempDir(), 0); err == nil {
		t.Error("an empty directory is no error")
	}
}

func TestWhatIsMissingIsAFault(t *testing.T) {
	r := &Run{Source: &Source{Count: 2}, Uploaded: &Uploaded{IDs: map[string]bool{"a": true, "b": true}}, Late: &Late{Why: "less"},
		Count: &Count{Taken: 2, Sizes: map[string]*Figures{"thumb": {Count: 2}, "medium": {Count: 1}, "large": {Count: 2, Wrong: 1}}}}
	faults := strings.Join(r.Faults(), "\n")
	for _, want := range []string{"size medium: 1, want 2", "size large that", "size square: 0", "new size was made of: 0", "came late"} {
		if !strings.Contains(faults, want) {
			t.Errorf("not told: %q in\n%s", want, faults)
		}
	}
	var out strings.Builder
	r.write(&out)
	if !strings.Contains(out.String(), "WRONG") || strings.Contains(out.String(), "in every size.") {
		t.Errorf("the report says:\n%s", &out)
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	for name, s := range map[string]settings{
		"one address": {Flags: demo.Flags{Kafka: "x:1"}, workers: 1},
		"no workers":  {},
		"less":        {workers: 1, count: -1},
		"too many":    {workers: 1, count: maxPictures + 1},
	} {
		if err := s.check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if err := (&settings{workers: 1}).check(); err != nil {
		t.Error(err)
	}
}
