package cli_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
)

func TestBrowseLooksAndTakesNothing(t *testing.T) {
	start(t)
	do(t, "declare queue q").ok()
	var lines strings.Builder
	for i := range 1200 {
		lines.WriteString("m")
		lines.WriteString(strings.Repeat("x", i%7))
		lines.WriteByte('\n')
	}
	run(t, lines.String(), "publish", "q", "--lines").ok("1200 messages")
	run(t, "last one", "publish", "q", "-H", "kind=mail", "-P", "type=t").ok()
	if got := strings.Count(do(t, "browse q").ok().out, "\n"); got != 50 {
		t.Errorf("%d lines", got)
	}
	if got := do(t, "browse q --count 0").ok().out; got != lines.String()+"last one\n" {
		t.Errorf("%d lines, of which the last is %q", strings.Count(got, "\n"), got[len(got)-20:])
	}
	for _, line := range []string{"browse q --from 1h --count 0", "browse q --offset 0 --count 0"} { // more than a page
		if got := strings.Count(do(t, line).ok().out, "\n"); got != 1201 {
			t.Errorf("%s: %d lines", line, got)
		}
	}
	do(t, "browse q --last 1 --output full").ok("offset 1200", "ready", "kind=mail", "last one")
	do(t, "browse q --offset 1199 --count 1").ok("m")
	if got := do(t, "browse q --header kind=mail").ok().out; got != "last one\n" {
		t.Errorf("%q", got)
	}
	for line, want := range map[string]string{
		"browse q --header kind --count 0": "last one\n", "browse q --header kind=no": "", "browse q --property type=t": "last one\n", "browse q --contains one": "last one\n", "browse q --key other": "",
		"browse q --exchange= --contains one": "last one\n", "browse q --from yesterday --to today": "", "browse q --from 1h --to now --contains last": "last one\n", "browse q --state acked": "", "browse q --partition 0 --last 1": "last one\n",
	} {
		if got := do(t, line).ok().out; got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
	var m map[string]any
	if err := json.Unmarshal([]byte(do(t, "browse q --last 1 -o json").ok().out), &m); err != nil || m["state"] != "ready" {
		t.Errorf("%v, %v", m, err)
	}
	do(t, "list queues name messages --no-titles").ok("q  1201")
	run(t, strings.Repeat("y", 2<<20), "publish", "q").ok()
	if s := do(t, "browse q --last 1").ok(); len(s.out) != 1<<20+1 || !strings.Contains(s.err, "1 message longer than is shown") {
		t.Errorf("%d bytes, %q", len(s.out), s.err)
	}
	do(t, "browse nowhere").ends(1, "there is no queue nowhere")
	do(t, "browse q --partition 5").ends(1)
}

func TestReplayCopiesWhatCameInATime(t *testing.T) {
	start(t)
	do(t, "declare queue q --retention 1D").ok()
	do(t, "declare queue again").ok()
	do(t, "declare exchange x --type topic").ok()
	do(t, "bind x again old.#").ok()
	run(t, "one\ntwo\nthree\n", "publish", "q", "--lines").ok()
	do(t, "consume q --drain").ok("one\ntwo\nthree\n")
	do(t, "replay q --from 1h --into again --dry-run").ok("3 messages of 3 would be replayed")
	do(t, "replay q --from 1h --to now --into again").ok("3 messages replayed (11 B), of 3 looked at")
	if got := do(t, "consume again --drain -o full").ok("x-replayed-from=q"); strings.Count(got.out, "---") != 3 {
		t.Error(got.out)
	}
	do(t, "replay q --from yesterday --to today --into again").ok("0 messages replayed")
	do(t, "replay q --from-offset 1 --to-offset 2 --partition 0 --into again").ok("1 message replayed")
	do(t, "consume again --drain").ok("two")
	do(t, "replay q --contains e --limit 1 --into-exchange x --into-key old.q").ok("1 message replayed")
	do(t, "consume again --drain -o full").ok(`key "old.q"`, "one")
	do(t, "replay q --into-exchange x --into-key nobody").ok("no queue took 3")
	do(t, "replay q --into q").ok("3 messages replayed")
	do(t, "consume q --drain").ok("one\ntwo\nthree\n")
	do(t, "replay q --into nowhere").ends(1, "nowhere")
	do(t, "replay nowhere --into q").ends(1, "there is no queue nowhere")
	var j map[string]any
	if err := json.Unmarshal([]byte(do(t, "replay q --into again -o json").ok().out), &j); err != nil || j["state"] != "done" {
		t.Errorf("%v, %v", j, err)
	}
}

func TestRedriveSendsDeadLettersBack(t *testing.T) {
	start(t)
	do(t, "declare queue dead").ok()
	run(t, "", "declare", "queue", "work", "--dead-letter-exchange", "", "--dead-letter-key", "dead").ok()
	run(t, "", "declare", "queue", "brief", "--dead-letter-exchange", "", "--dead-letter-key", "dead", "--ttl", "1ms").ok()
	run(t, "a\nb\nc\n", "publish", "work", "--lines").ok()
	do(t, "publish brief late").ok()
	do(t, "consume work --count 3 --reject").ok("a\nb\nc\n")
	for begun := time.Now(); !strings.Contains(do(t, "list queues messages name --no-titles").ok().out, "4  dead"); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("they do not die")
		}
	}
	do(t, "redrive dead --dry-run").ok("4 messages of 4 would be sent back", "died of: rejected 3, expired 1", "died in: work 3, brief 1")
	do(t, "redrive dead --reason rejected --limit 2").ok("2 messages sent back")
	do(t, "consume work --drain").ok("a\nb\n").lacks("c")
	do(t, "redrive dead --origin brief --into work").ok("1 message sent back")
	do(t, "consume work --drain").ok("late")
	do(t, "delete queue work").ok()
	do(t, "redrive dead").ok("0 messages sent back", "left where they are: died in a queue that is gone 1")
	do(t, "redrive nowhere").ends(1, "there is no queue nowhere")
}

func TestJobsAreFollowedCancelledAndResumed(t *testing.T) {
	start(t)
	do(t, "declare queue q").ok()
	do(t, "declare queue again").ok()
	run(t, strings.Repeat("m\n", 100), "publish", "q", "--lines").ok()
	id := strings.TrimSpace(do(t, "replay q --into again --rate 1 --detach").ok().out)
	do(t, "list jobs").ok(id, "replay", "running")
	do(t, "show job "+id).ok("target.queue", "again")
	do(t, "delete job "+id).ends(1, "cancel it first")
	do(t, "job cancel "+id).ok("cancelled")
	do(t, "list jobs id state --no-titles").ok("cancelled")
	do(t, "job follow "+id).ends(1, "cancelled: leveret job resume "+id)
	l := begin(t, "job", "resume", id)
	for begun := time.Now(); !strings.Contains(do(t, "list jobs state").ok().out, "running"); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("it does not go on")
		}
	}
	do(t, "job cancel "+id).ok()
	l.wait().ends(1, "cancelled")
	do(t, "delete job "+id).ok("forgotten")
	do(t, "job follow "+id).ends(1, "no job", id)
	do(t, "job cancel none").ends(1)
	do(t, "job resume none").ends(1)
	do(t, "list jobs --output json").ok("[]")
}

// Ctrl-C cancels what was begun, and takes what is on its way.
func TestAnInterruptionEndsWhatIsUnderWay(t *testing.T) {
	start(t)
	do(t, "declare queue q").ok()
	do(t, "declare queue again").ok()
	run(t, strings.Repeat("m\n", 100), "publish", "q", "--lines").ok()
	interrupt := func() {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Signal(os.Interrupt)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	l := begin(t, "replay", "q", "--into", "again", "--rate", "1")
	for begun := time.Now(); !strings.Contains(do(t, "list jobs state").ok().out, "running"); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > time.Minute {
			t.Fatal("it does not begin")
		}
	}
	interrupt()
	l.wait().ends(130, "cancelled after", "leveret job resume")
	do(t, "list jobs state").ok("cancelled")
	l = begin(t, "consume", "q")
	l.until(strings.Repeat("m\n", 100))
	interrupt()
	l.wait().ok()
	l = begin(t, "tail", "q", "--first")
	do(t, "publish q n").ok()
	l.until("n\n")
	interrupt()
	l.wait().ok()
	do(t, "browse q").ok("n\n")
}
