package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Source gives pictures by number, from several goroutines at once.
type Source struct {
	Title string
	Count int
	get   func(n int) (name string, data []byte, err error)
}

// generatedSource is pictures that are made up.
func generatedSource(seed uint64, count, width, height int) *Source {
	return &Source{Title: fmt.Sprintf("%s GENERATED pictures of %d × %d pixels, seed %d", demo.Grouped(count), width, height, seed),
		Count: count, get: func(n int) (string, []byte, error) { return generated(seed, n, width, height) }}
}

// fileSource is the pictures in a directory, or one file.
func fileSource(path string, limit int) (*Source, error) {
	var files []string
	err := filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		switch strings.ToLower(filepath.Ext(p)) {
		case ".jpg", ".jpeg", ".png", ".gif", ".webp":
			if d.Type().IsRegular() {
				files = append(files, p)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("no .jpg, .png, .gif or .webp in %s", path)
	}
	slices.Sort(files)
	title := fmt.Sprintf("%s pictures of %s", demo.Grouped(len(files)), path)
	if limit > 0 && len(files) > limit {
		title += fmt.Sprintf(", of which the first %s are taken (-count)", demo.Grouped(limit))
		files = files[:limit]
	}
	return &Source{Title: title, Count: len(files), get: func(n int) (string, []byte, error) {
		data, err := os.ReadFile(files[n])
		return filepath.Base(files[n]), data, err
	}}, nil
}

// Uploaded is what the client that sends pictures saw.
type Uploaded struct {
	IDs     map[string]bool
	Refused []string        // with the server's reason
	Answers []time.Duration // until 202, sorted
	Took    time.Duration
	Bytes   int64
}

// upload sends all pictures, a few at a time as browsers do.
func upload(ctx context.Context, server string, src *Source, bar *demo.Bar) (*Uploaded, error) {
	u := &Uploaded{IDs: map[string]bool{}}
	var mu sync.Mutex // guards u and failed
	var failed error
	next := make(chan int)
	began := time.Now()
	var wait sync.WaitGroup
	for range 3 {
		wait.Go(func() {
			for n := range next {
				name, data, err := src.get(n)
				var id string
				var took time.Duration
				if err == nil {
					id, took, err = post(ctx, server, name, data)
				}
				mu.Lock()
				var no *refusal
				switch {
				case errors.As(err, &no):
					u.Refused = append(u.Refused, name+": "+no.reason)
				case err != nil && failed == nil:
					failed = fmt.Errorf("upload %s: %w", name, err)
				case err == nil:
					u.IDs[id], u.Answers, u.Bytes = true, append(u.Answers, took), u.Bytes+int64(len(data))
				}
				bar.Set(uint64(len(u.IDs)))
				mu.Unlock()
			}
		})
	}
	for n := range src.Count {
		select {
		case next <- n:
		case <-ctx.Done():
			failed = context.Cause(ctx)
		}
	}
	close(next)
	wait.Wait()
	slices.Sort(u.Answers)
	u.Took = time.Since(began)
	bar.Finish(uint64(len(u.IDs)))
	return u, failed
}

// refusal is a server's word that a picture is none; the others go on.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

func post(ctx context.Context, server, name string, data []byte) (id string, took time.Duration, err error) {
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, server+"pictures?name="+url.QueryEscape(name), bytes.NewReader(data))
	if err != nil {
		return "", 0, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	switch {
	case err != nil:
		return "", 0, err
	case res.StatusCode == http.StatusUnsupportedMediaType || res.StatusCode == http.StatusRequestEntityTooLarge:
		return "", 0, &refusal{strings.TrimSpace(string(body))}
	case res.StatusCode != http.StatusAccepted:
		return "", 0, fmt.Errorf("%s: %s", res.Status, bytes.TrimSpace(body))
	}
	var answer struct{ ID string }
	if err := json.Unmarshal(body, &answer); err != nil {
		return "", 0, err
	}
	return answer.ID, time.Since(began), nil
}
