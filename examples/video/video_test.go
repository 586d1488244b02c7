package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// The whole job needs ffmpeg, and is a stage of make interop: test/interop/video.sh.

func TestAMissingFFmpegIsToldHowToInstall(t *testing.T) {
	_, _, err := findFFmpeg(context.Background(), "ffmpeg-that-is-not-there")
	if err == nil || !strings.Contains(err.Error(), "apt-get install ffmpeg") || !strings.Contains(err.Error(), "-ffmpeg") {
		t.Errorf("error: %v", err)
	}
}

func TestWhatFFmpegSaysIsUnderstood(t *testing.T) {
	for said, want := range map[string]time.Duration{
		"  Duration: 00:00:20.04, start: 0.000000, bitrate: 3834 kb/s": 20*time.Second + 40*time.Millisecond,
		"Duration: 01:02:03.5,":  time.Hour + 2*time.Minute + 3*time.Second + 500*time.Millisecond,
		"Duration: N/A, bitrate": 0,
		"moov atom not found":    0,
	} {
		if got := parseLength([]byte(said)); got != want {
			t.Errorf("%q is %v, want %v", said, got, want)
		}
	}
	var percents []int
	told := "out_time_us=N/A\nprogress=continue\nout_time_us=1000000\nout_time_us=1010000\nframe=3\nout_time_us=5000000\nout_time_us=99000000\nprogress=end\n"
	follow(strings.NewReader(told), 10*time.Second, func(p int) { percents = append(percents, p) })
	if !slices.Equal(percents, []int{10, 50, 99}) { // the last percent is for the broker's confirm
		t.Errorf("%v", percents)
	}
	follow(strings.NewReader(told), 0, func(int) { t.Error("a percentage of a video whose length is not known") })
	follow(strings.NewReader(strings.Repeat("x", 1<<17)+"\n"+told), time.Second, func(int) {})
	if n := parseFrames([]byte("frame=12\nfps=0\nframe= 500\nprogress=end\n")); n != 500 {
		t.Errorf("%d pictures", n)
	}
	if s := lastLine("one\n two: no\n"); s != " two: no" {
		t.Errorf("%q", s)
	}
}

// good is a run in which worker-1 was killed, one video is broken, and all is well.
func good() *Run {
	return &Run{
		Jobs:    []Job{{ID: "1", Name: "one"}, {ID: "2", Name: "two"}, {ID: "x", Name: "broken"}},
		Mishaps: []Mishap{{What: "killed", Worker: "worker-1", ID: "1", Percent: 25}},
		Frames:  map[string]int{"1": 500, "2": 9}, Want: map[string]int{"1": 500},
		Events: []Event{
			{Key: begunKey, ID: "1", Worker: "worker-1", Attempt: 1}, {Key: progressKey, ID: "1", Worker: "worker-1", Percent: 25},
			{Key: begunKey, ID: "1", Worker: "worker-2", Attempt: 2}, {Key: finishedKey, ID: "1", Worker: "worker-2", Took: time.Second}, {Key: doneKey, ID: "1"},
			{Key: begunKey, ID: "2", Worker: "worker-3", Attempt: 1}, {Key: doneKey, ID: "2"},
			{Key: begunKey, ID: "x", Worker: "worker-3", Attempt: 1}, {Key: brokenKey, ID: "x", Reason: "moov"}, {Key: failedKey, ID: "x", Reason: "rejected"},
		},
	}
}

func TestWhatIsWrongIsAFault(t *testing.T) {
	if faults := good().Faults(); len(faults) != 0 {
		t.Fatalf("%q", faults)
	}
	var out strings.Builder
	good().write(&out)
	for _, want := range []string{"worker-1 killed at 25 %; worker-2 took it over (attempt 2); worker-2 did it in 1.00 s", "set aside (rejected)", "exactly one result"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the report does not say %q:\n%s", want, &out)
		}
	}
	drop := func(key, id string) func(*Run) {
		return func(r *Run) {
			r.Events = slices.DeleteFunc(r.Events, func(e Event) bool { return e.Key == key && e.ID == id })
		}
	}
	for want, change := range map[string]func(*Run){
		"two has 0 results":           drop(doneKey, "2"),
		"one has 2 results":           func(r *Run) { r.Events = append(r.Events, Event{Key: doneKey, ID: "1"}) },
		"no other worker took over":   drop(begunKey, "1"),
		"two was begun 2 times":       func(r *Run) { r.Events = append(r.Events, Event{Key: begunKey, ID: "2"}) },
		"broken can't be read":        drop(failedKey, "x"),
		"one has 499 pictures":        func(r *Run) { r.Frames["1"] = 499 },
		"the result of two has 0":     func(r *Run) { r.Frames["2"] = 0 },
		"two has 1 results and was":   func(r *Run) { r.Events = append(r.Events, Event{Key: failedKey, ID: "2"}) },
		"happened to 1 workers":       func(r *Run) { r.WantMishaps = 3 },
		"out/one.mp4: moov not found": func(r *Run) { r.Bad = []string{"out/one.mp4: moov not found"} },
	} {
		r := good()
		change(r)
		if got := strings.Join(r.Faults(), "\n"); !strings.Contains(got, want) {
			t.Errorf("not told: %q in %q", want, got)
		}
	}
}

func TestBadSettingsAreRefused(t *testing.T) {
	fine := settings{workers: 3, count: 3, length: time.Second, heartbeat: time.Second}
	if err := fine.check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*settings){
		"two workers":    func(s *settings) { s.workers = 2 },
		"two videos":     func(s *settings) { s.count = 2 },
		"a short video":  func(s *settings) { s.length = time.Millisecond },
		"half a second":  func(s *settings) { s.heartbeat = 500 * time.Millisecond },
		"1.5 seconds":    func(s *settings) { s.heartbeat = 1500 * time.Millisecond },
		"half addresses": func(s *settings) { s.Flags = demo.Flags{AMQP: "x:1"} },
	} {
		s := fine
		change(&s)
		if err := s.check(); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}
