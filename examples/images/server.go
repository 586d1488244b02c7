package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

//go:embed page
var page embed.FS

// Server takes pictures and shows what became of them. It keeps none: an upload is
// answered when the broker has its jobs, and what it shows it reads from the log.
type Server struct {
	URL   string
	Album *Album

	conn  *amqp.Connection
	pub   *demo.Publisher
	http  http.Server
	slots chan struct{} // uploads in memory at a time
	stop  context.CancelFunc
}

// uploadsAtOnce bounds memory: each is at most maxUploadBytes.
const uploadsAtOnce = 8

func startServer(ctx context.Context, b *demo.Broker, addr string) (*Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the web page: %w", err)
	}
	s := &Server{URL: "http://" + l.Addr().String() + "/", slots: make(chan struct{}, uploadsAtOnce)}
	ctx, s.stop = context.WithCancel(ctx)
	if s.conn, err = b.Dial(); err == nil {
		s.pub, err = demo.NewPublisher(s.conn)
	}
	if err == nil {
		s.Album, err = openAlbum(ctx, b)
	}
	if err != nil {
		_ = l.Close()
		s.stop()
		return nil, err
	}
	files, err := fs.Sub(page, "page")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("GET /", http.FileServerFS(files))
	mux.HandleFunc("POST /pictures", s.take)
	mux.HandleFunc("GET /pictures/{id}", s.status)
	mux.HandleFunc("GET /pictures/{id}/{file}", s.picture)
	mux.HandleFunc("GET /events", s.events)
	s.http = http.Server{Handler: guarded(mux), ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

func (s *Server) close() {
	s.stop() // ends event streams
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = s.http.Shutdown(ctx)
	s.Album.close()
	_ = s.conn.Close()
}

// guarded lets a page load nothing from elsewhere and nobody else's page upload here.
func guarded(h http.Handler) http.Handler {
	return http.NewCrossOriginProtection().Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		h.ServeHTTP(w, r)
	}))
}

// take answers 202 as soon as the broker has confirmed the three jobs. The work has
// not begun then; the answer says where to look for it.
func (s *Server) take(w http.ResponseWriter, r *http.Request) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-r.Context().Done():
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxUploadBytes))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		http.Error(w, fmt.Sprintf("a picture may have %d MiB", maxUploadBytes>>20), http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		http.Error(w, "the upload broke off", http.StatusBadRequest)
		return
	}
	if err := look(data); err != nil {
		http.Error(w, err.Error(), http.StatusUnsupportedMediaType)
		return
	}
	id := rand.Text()
	if err := s.publish(r.Context(), id, nameOf(r), data); err != nil {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "the broker does not answer; try again: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Location", "/pictures/"+id)
	w.WriteHeader(http.StatusAccepted)
	_ = json.NewEncoder(w).Encode(map[string]string{"id": id, "status": "/pictures/" + id})
}

// nameOf is the file's name as the client gave it, shortened; it is shown, never opened.
func nameOf(r *http.Request) string {
	name := strings.ToValidUTF8(r.URL.Query().Get("name"), "?")
	if name == "" {
		return "unnamed"
	}
	for len(name) > 100 {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return name
}

func (s *Server) publish(ctx context.Context, id, name string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	h := amqp.Table{idHeader: id, nameHeader: name, queuedHeader: time.Now().UnixMilli()}
	var waiting []*amqp.DeferredConfirmation
	add := func(key string, priority uint8, body []byte) error {
		c, err := s.pub.Begin(ctx, exchangeName, key, amqp.Publishing{Priority: priority, Headers: h, Body: body})
		waiting = append(waiting, c)
		return err
	}
	if err := add(takenKey, 0, nil); err != nil {
		return err
	}
	for _, size := range sizes {
		if err := add(jobPrefix+size.Name, size.Priority, data); err != nil {
			return err
		}
	}
	for _, c := range waiting {
		if err := demo.Confirmed(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

// status tells how far a picture is.
func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	p, ok := s.Album.picture(r.PathValue("id"))
	if !ok {
		http.Error(w, "no such picture, or not seen in the log yet", http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(p)
}

// picture sends one size, out of the log.
func (s *Server) picture(w http.ResponseWriter, r *http.Request) {
	p, _ := s.Album.picture(r.PathValue("id"))
	result, ok := p.Sizes[strings.TrimSuffix(r.PathValue("file"), ".jpg")]
	if !ok || result.Error != "" {
		http.Error(w, "not there (yet)", http.StatusNotFound)
		return
	}
	var data bytes.Buffer
	if err := s.Album.read(r.Context(), result.Offset, &data); err != nil {
		http.Error(w, "read the log: "+err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	_, _ = w.Write(data.Bytes())
}

// events is the album and then each change of it, as server-sent events.
func (s *Server) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	flush := http.NewResponseController(w)
	var step uint64
	for {
		var changed []Picture
		var more <-chan struct{}
		changed, step, more = s.Album.since(step)
		if len(changed) > 0 {
			data, err := json.Marshal(changed)
			if err != nil {
				return
			}
			if _, err := fmt.Fprintf(w, "data: %s\n\n", data); err != nil {
				return
			}
		}
		if flush.Flush() != nil {
			return
		}
		select {
		case <-more:
		case <-r.Context().Done():
			return
		}
		select { // a browser need not know more often than it can show
		case <-time.After(50 * time.Millisecond):
		case <-r.Context().Done():
			return
		}
	}
}
