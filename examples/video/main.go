package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// settings are the command line.
type settings struct {
	demo.Flags
	ffmpeg, videos, out string
	count, workers      int
	length, heartbeat   time.Duration
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		workerMain(ctx, os.Args[2:])
		return
	}
	var s settings
	s.Register(flag.CommandLine, "queues video-jobs, -log, -done and -failed")
	flag.StringVar(&s.ffmpeg, "ffmpeg", "ffmpeg", "the program that transcodes")
	flag.StringVar(&s.videos, "videos", "", "a video, or a directory of them; without it videos are generated")
	flag.StringVar(&s.out, "out", "", "where results go (default: a directory that is removed at the end)")
	flag.IntVar(&s.count, "count", 6, "how many videos at most")
	flag.DurationVar(&s.length, "length", 20*time.Second, "how long a generated video is")
	flag.IntVar(&s.workers, "workers", 3, "workers at a time; to the first three something happens")
	flag.DurationVar(&s.heartbeat, "heartbeat", 2*time.Second, "AMQP's heartbeat: who is silent for twice as long is taken for dead")
	demo.Main("video", s.check, func(ctx context.Context) (bool, error) { return run(ctx, &s) })
}

// workerMain is the other program in this one.
func workerMain(ctx context.Context, args []string) {
	set := flag.NewFlagSet("worker", flag.ExitOnError)
	var w Worker
	set.StringVar(&w.Name, "name", "worker", "its name")
	set.StringVar(&w.AMQP, "amqp", "127.0.0.1:5672", "host:port of the broker")
	program := set.String("ffmpeg", "ffmpeg", "the program that transcodes")
	set.DurationVar(&w.Heartbeat, "heartbeat", 10*time.Second, "AMQP's heartbeat")
	set.BoolVar(&w.DieLate, "die-late", false, "die once, when a result is published and its job not acked yet")
	_ = set.Parse(args)
	w.FFmpeg = ffmpeg(*program)
	if err := w.run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", w.Name, err)
		os.Exit(1)
	}
}

func (s *settings) check() error {
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unknown argument %q; videos are named by -videos", flag.Arg(0))
	case s.workers < 3 || s.workers > 100:
		return errors.New("-workers must be 3 to 100: to three of them something happens")
	case s.count < 3 || s.count > 1000:
		return errors.New("-count must be 3 to 1000: each of the first three workers needs a video")
	case s.length < time.Second || s.length > time.Hour:
		return errors.New("-length must be 1s to 1h")
	case s.heartbeat < time.Second || s.heartbeat%time.Second != 0:
		return errors.New("-heartbeat must be whole seconds, as AMQP has them")
	}
	return s.Check()
}

// run does the whole job; ok is false when the report found something wrong.
func run(ctx context.Context, s *settings) (ok bool, err error) {
	program, version, err := findFFmpeg(ctx, s.ffmpeg)
	if err != nil {
		return false, err
	}
	fmt.Println(version)
	dir, err := os.MkdirTemp("", "leveret-video-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	b, err := s.Open(ctx)
	if err != nil {
		return false, err
	}
	defer b.Stop()
	r, err := transcodeAll(ctx, b, program, s, dir)
	if err != nil {
		return false, err
	}
	r.write(os.Stdout)
	return len(r.Faults()) == 0, nil
}

// transcodeAll does everything but tell of it.
func transcodeAll(ctx context.Context, b *demo.Broker, program ffmpeg, s *settings, dir string) (r *Run, err error) {
	if err := declare(b); err != nil {
		return nil, err
	}
	if err := b.DeleteGroups(ctx, reportGroup); err != nil {
		return nil, err
	}
	progress := demo.NewProgress(os.Stderr)
	defer progress.End()
	r = &Run{Workers: s.workers, Heartbeat: s.heartbeat, Frames: map[string]int{}, Want: map[string]int{}}
	made := progress.Bar("videos made", 0)
	if r.Jobs, r.Title, err = sources(ctx, program, s, dir, made); err != nil {
		return nil, err
	}
	if len(r.Jobs) < 3 {
		return nil, fmt.Errorf("%s: it takes three, one for each of the first workers", r.Title)
	}
	made.Finish(uint64(len(r.Jobs)))
	progress.Note("%s", r.Title)

	bars := map[string]*demo.Bar{}
	if progress.Terminal() { // elsewhere a line of so many is not read by anybody
		for _, j := range r.Jobs {
			bars[j.ID] = progress.Bar(demo.Cut(j.Name, 30)+" %", 100)
		}
	}
	all, over := progress.Bar("videos done", uint64(len(r.Jobs))), map[string]bool{}
	watch, err := startWatch(ctx, b, func(e Event) {
		switch e.Key {
		case progressKey:
			if !over[e.ID] {
				bars[e.ID].Set(uint64(e.Percent))
			}
		case doneKey, failedKey:
			over[e.ID] = true
			bars[e.ID].Finish(100)
			all.Set(uint64(len(over)))
		}
	})
	if err != nil {
		return nil, err
	}
	defer watch.close()

	crew := newCrew(b, program, s.heartbeat)
	defer func() {
		if said := crew.close(); said != "" && err != nil {
			err = fmt.Errorf("%w; the workers said:\n%s", err, said)
		}
	}()
	began := time.Now()
	for n := range s.workers {
		var flags []string
		if n == 2 {
			flags = []string{"-die-late"}
		}
		if _, err := crew.hire(flags...); err != nil {
			return nil, err
		}
	}
	if err := publish(ctx, b, r.Jobs, s.workers); err != nil {
		return nil, err
	}
	if r.Mishaps, err = mishaps(ctx, crew, watch, len(r.Jobs), progress); err != nil {
		return nil, err
	}
	r.Workers = crew.hired
	if s.videos == "" { // one of the user's may be too short for anything to happen
		r.WantMishaps = 2
		if canFreeze {
			r.WantMishaps = 3
		}
	}
	if err := watch.until(ctx, "every video is done", func(events []Event) bool {
		// The video of who died late is done when it is done again: its result was there before.
		again := 2
		for _, m := range r.Mishaps {
			if m.What == diedLateWhat {
				again = 0
				for _, e := range events {
					if e.ID == m.ID && e.Key == finishedKey {
						again++
					}
				}
			}
		}
		return settled(events) >= len(r.Jobs) && again >= 2
	}); err != nil {
		return nil, err
	}
	r.Took = time.Since(began)
	if r.Events, err = readEvents(ctx, b); err != nil {
		return nil, err
	}
	return r, r.look(ctx, program, s)
}

// publish waits until all workers are there, so that each gets a job, and publishes.
func publish(ctx context.Context, b *demo.Broker, jobs []Job, workers int) error {
	conn, err := b.Dial()
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := demo.NewPublisher(conn)
	if err != nil {
		return err
	}
	var failed error
	if err := demo.Until(ctx, func() bool {
		q, err := p.QueueDeclarePassive(jobQueue, true, false, false, false, nil)
		failed = err
		return err != nil || q.Consumers >= workers
	}); err != nil || failed != nil {
		return errors.Join(fmt.Errorf("not all of %d workers came", workers), err, failed)
	}
	for _, j := range jobs {
		body, err := json.Marshal(j)
		if err != nil {
			return err
		}
		if err := p.Send(ctx, exchangeName, jobKey, amqp.Publishing{ContentType: "application/json", MessageId: j.ID, Headers: amqp.Table{idHeader: j.ID}, Body: body}); err != nil {
			return fmt.Errorf("publish a job: %w", err)
		}
	}
	return nil
}

// mishaps happen to the first three workers, all at the same time. Each is followed
// until another worker has the job; who is gone is replaced.
func mishaps(ctx context.Context, crew *Crew, watch *Watch, jobs int, progress *demo.Progress) ([]Mishap, error) {
	var wait sync.WaitGroup
	var list [3]Mishap
	var errs [3]error
	for i, happen := range []func() (Mishap, error){
		func() (Mishap, error) { return killed(ctx, crew, watch, "worker-1", progress) },
		func() (Mishap, error) { return frozen(ctx, crew, watch, "worker-2", progress) },
		func() (Mishap, error) { return diedLate(ctx, crew, watch, "worker-3", jobs, progress) },
	} {
		wait.Go(func() { list[i], errs[i] = happen() })
	}
	wait.Wait()
	var happened []Mishap
	for _, m := range list {
		if m.What != "" {
			happened = append(happened, m)
		}
	}
	return happened, errors.Join(errs[:]...)
}

// halfWay waits until a worker is well within its first video; found is false when it
// was done before.
func halfWay(ctx context.Context, watch *Watch, worker string, progress *demo.Progress) (e Event, found bool, err error) {
	e, found, err = watch.first(ctx, worker+" is half-way",
		func(e Event) bool { return e.Worker == worker && e.Key == progressKey && e.Percent >= 20 },
		func(e Event) bool { return e.Worker == worker && (e.Key == finishedKey || e.Key == brokenKey) })
	if err == nil && !found {
		progress.Note("%s was done with its first video before anything could happen to it", worker)
	}
	return e, found, err
}

// takenOver waits until another worker has begun with the same video.
func takenOver(ctx context.Context, watch *Watch, e Event) error {
	_, _, err := watch.first(ctx, "another worker has video "+e.ID+" of "+e.Worker, func(x Event) bool {
		return x.ID == e.ID && x.Key == begunKey && x.Worker != e.Worker
	}, nil)
	return err
}

func killed(ctx context.Context, crew *Crew, watch *Watch, worker string, progress *demo.Progress) (m Mishap, err error) {
	e, found, err := halfWay(ctx, watch, worker, progress)
	if err != nil || !found {
		return m, err
	}
	at := time.Now()
	crew.kill(worker)
	progress.Note("%s was killed at %d %% of video %s", worker, e.Percent, e.ID)
	m = Mishap{What: "killed", Worker: worker, ID: e.ID, Percent: e.Percent}
	if _, err := crew.hire(); err != nil {
		return m, err
	}
	err = takenOver(ctx, watch, e)
	m.Noticed = time.Since(at)
	return m, err
}

func frozen(ctx context.Context, crew *Crew, watch *Watch, worker string, progress *demo.Progress) (m Mishap, err error) {
	if !canFreeze {
		return m, nil
	}
	e, found, err := halfWay(ctx, watch, worker, progress)
	if err != nil || !found {
		return m, err
	}
	at := time.Now()
	crew.freeze(worker)
	progress.Note("%s was frozen at %d %% of video %s", worker, e.Percent, e.ID)
	err = takenOver(ctx, watch, e)
	m = Mishap{What: "frozen", Worker: worker, ID: e.ID, Percent: e.Percent, Noticed: time.Since(at)}
	crew.thaw(worker)
	if err != nil {
		return m, err
	}
	progress.Note("%s goes on; video %s is another worker's now", worker, e.ID)
	_, _, err = watch.first(ctx, worker+" has noticed", func(x Event) bool { return x.Worker == worker && x.Key == droppedKey }, nil)
	return m, err
}

func diedLate(ctx context.Context, crew *Crew, watch *Watch, worker string, jobs int, progress *demo.Progress) (m Mishap, err error) {
	over := map[string]bool{} // by video: the events are looked through more than once
	e, found, err := watch.first(ctx, worker+" has a result", func(e Event) bool {
		if e.Key == doneKey || e.Key == failedKey {
			over[e.ID] = true
		}
		return e.Worker == worker && e.Key == doneKey
	}, func(Event) bool { return len(over) >= jobs })
	if err != nil || !found {
		return m, err
	}
	if err := crew.wait(ctx, worker); err != nil {
		return m, err
	}
	progress.Note("%s died when the result of video %s was published, before its ack", worker, e.ID)
	m = Mishap{What: diedLateWhat, Worker: worker, ID: e.ID, Percent: 100}
	if _, err := crew.hire(); err != nil {
		return m, err
	}
	return m, takenOver(ctx, watch, e)
}

// look unpacks every result, and removes what killed workers left beside them.
func (r *Run) look(ctx context.Context, program ffmpeg, s *settings) error {
	for _, j := range r.Jobs {
		left, err := filepath.Glob(filepath.Join(filepath.Dir(j.Out), "*.part"))
		if err != nil {
			return err
		}
		for _, file := range left {
			_ = os.Remove(file)
		}
		if len(r.of(j.ID, doneKey)) == 0 {
			continue
		}
		n, err := program.frames(ctx, j.Out)
		if err != nil {
			r.Bad = append(r.Bad, err.Error())
		}
		r.Frames[j.ID] = n
		if s.videos == "" {
			r.Want[j.ID] = int(j.Length.Seconds() * frameRate)
		}
	}
	return nil
}
