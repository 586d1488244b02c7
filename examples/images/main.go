package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// settings are the command line.
type settings struct {
	demo.Flags
	pictures, web  string
	count, workers int
	seed           uint64
	stay           bool
}

func main() {
	var s settings
	s.Register(flag.CommandLine, "queues images-work, images-originals and images-album")
	flag.StringVar(&s.pictures, "pictures", "", "a picture, or a directory of them; without it pictures are generated")
	flag.StringVar(&s.web, "web", "127.0.0.1:0", "where the web page is; port 0 is a free one")
	flag.IntVar(&s.count, "count", 0, "how many pictures at most (default: 40 generated ones, or the first 1000 of -pictures)")
	flag.Uint64Var(&s.seed, "seed", 1, "seed of the generated pictures")
	flag.IntVar(&s.workers, "workers", min(4, runtime.NumCPU()), "workers that resize, one picture at a time each")
	flag.BoolVar(&s.stay, "stay", isTerminal(os.Stdout), "keep the page and the workers until Ctrl-C (default: in a terminal)")
	demo.Main("images", s.check, func(ctx context.Context) (bool, error) { return run(ctx, &s) })
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (s *settings) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unknown argument %q; pictures are named by -pictures", flag.Arg(0))
	case s.count < 0 || s.count > maxPictures:
		return fmt.Errorf("-count must be 0 to %d", maxPictures)
	case s.workers < 1 || s.workers > 100:
		return errors.New("-workers must be 1 to 100")
	}
	return s.Check()
}

func (s *settings) source() (*Source, error) {
	switch {
	case s.pictures != "" && s.count == 0:
		return fileSource(s.pictures, 1000)
	case s.pictures != "":
		return fileSource(s.pictures, s.count)
	case s.count == 0:
		return generatedSource(s.seed, 40, generatedWidth, generatedHeight), nil
	}
	return generatedSource(s.seed, s.count, generatedWidth, generatedHeight), nil
}

// run does the whole job; ok is false when the report found something missing.
func run(ctx context.Context, s *settings) (ok bool, err error) {
	src, err := s.source()
	if err != nil {
		return false, err
	}
	fmt.Println(src.Title)
	b, err := s.Open(ctx)
	if err != nil {
		return false, err
	}
	defer b.Stop()
	if err := declare(b); err != nil {
		return false, err
	}
	if err := b.DeleteGroups(ctx, reportGroup, squareGroup); err != nil {
		return false, err
	}
	server, err := startServer(ctx, b, s.web)
	if err != nil {
		return false, err
	}
	defer server.close()
	fmt.Printf("The page: %s\n", server.URL)
	workers, err := startWorkers(ctx, b, s.workers)
	if err != nil {
		return false, err
	}
	defer workers.Close()
	ctx = workers.Context
	r := &Run{Source: src}
	if err := r.work(ctx, server); err != nil {
		return false, err
	}
	if err := r.replay(ctx, b, server); err != nil {
		return false, err
	}
	r.write(os.Stdout)
	if s.stay {
		fmt.Printf("\nThe page %s takes your pictures until you press Ctrl-C.\n", server.URL)
		<-ctx.Done()
		if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
			return false, err
		}
	}
	return len(r.Faults()) == 0, nil
}

// work uploads all pictures and waits until every size of each is there.
func (r *Run) work(ctx context.Context, server *Server) (err error) {
	progress := demo.NewProgress(os.Stderr)
	defer progress.End()
	began := time.Now()
	uploads := progress.Bar("pictures uploaded", uint64(r.Source.Count))
	var bars []*demo.Bar
	for _, size := range sizes {
		bars = append(bars, progress.Bar(size.Name, uint64(r.Source.Count)))
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan struct{})
	go func() { // the bars, from the same log as the page
		defer close(done)
		_ = server.Album.until(watched, func(all []Picture, _ int64) bool {
			for i, n := range finished(all) {
				bars[i].Set(uint64(n))
			}
			return false
		})
	}()
	if r.Uploaded, err = upload(ctx, server.URL, r.Source, uploads); err != nil {
		return err
	}
	n := len(r.Uploaded.IDs)
	err = server.Album.until(ctx, func(all []Picture, _ int64) bool {
		for _, have := range finished(all) {
			if have < n {
				return false
			}
		}
		return true
	})
	stop()
	<-done
	if err != nil {
		return err
	}
	for _, bar := range bars {
		bar.Finish(uint64(n))
	}
	r.AllTook = time.Since(began)
	return nil
}

// finished is how many pictures there are of each of the sizes.
func finished(all []Picture) []int {
	n := make([]int, len(sizes))
	for _, p := range all {
		for i, size := range sizes {
			if _, done := p.Sizes[size.Name]; done {
				n[i]++
			}
		}
	}
	return n
}

// replay makes a new size of what the log still has, starts a web server that knows
// nothing, and has a Kafka group look at all that was made.
func (r *Run) replay(ctx context.Context, b *demo.Broker, server *Server) (err error) {
	if r.Squares, r.SqTook, err = addSquares(ctx, b); err != nil {
		return err
	}
	if err := server.Album.until(ctx, func(all []Picture, _ int64) bool {
		n := 0
		for _, p := range all {
			if _, done := p.Sizes[square.Name]; done {
				n++
			}
		}
		return n >= r.Squares
	}); err != nil {
		return err
	}
	if r.Late, err = comeLate(ctx, b, server); err != nil {
		return err
	}
	r.Count, err = count(ctx, b)
	return err
}
