package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
)

func TestALineSaysWhoWhatAndWhyNot(t *testing.T) {
	root := Actor{User: "root", From: "192.0.2.7:5000", Protocol: "kafka"}
	for _, c := range []struct {
		name string
		act  func(*slog.Logger)
		want string
	}{
		{"done", func(l *slog.Logger) { Acted(l, root, "user.put", "user 'ann'", "", nil) },
			`level=AUDIT msg=audit act=user.put on="user 'ann'" by=root from=192.0.2.7:5000 protocol=kafka outcome=done`},
		{"failed", func(l *slog.Logger) {
			Acted(l, Process("SIGHUP"), "config.reload", "", "", errors.New("line 3: no such setting"))
		},
			`level=AUDIT msg=audit act=config.reload from=SIGHUP protocol=process outcome=failed reason="line 3: no such setting"`},
		{"refused", func(l *slog.Logger) {
			Write(l, Entry{Act: "basic.publish", VHost: "/", By: Actor{User: "eve", From: "192.0.2.9:1", Protocol: "amqp"}, Outcome: Refused, Reason: "may not write"}, "channel", 3)
		}, `level=AUDIT msg=audit act=basic.publish vhost=/ by=eve from=192.0.2.9:1 protocol=amqp outcome=refused reason="may not write" channel=3`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out bytes.Buffer
			c.act(slog.New(NewHandler("text", slog.LevelError, &out, nil)))
			_, line, _ := strings.Cut(strings.TrimSpace(out.String()), " ")
			if line != c.want {
				t.Errorf("got  %s\nwant %s", line, c.want)
			}
		})
	}
}

func TestLinesOfAuditComeAtEveryLevelAndAloneIntoTheirFile(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		for _, least := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			var out, file bytes.Buffer
			logger := slog.New(NewHandler(format, least, &out, &file)).With("listener", "amqp").WithGroup("g")
			logger.Debug("debug")
			logger.Error("an error", "level", slog.LevelInfo)
			Acted(logger, Process("here"), "user.put", "user 'ann'", "", nil)
			if n := strings.Count(out.String(), LevelText); n != 1 || !strings.Contains(out.String(), "an error") {
				t.Errorf("%s %v: %s", format, least, &out)
			}
			if strings.Contains(out.String(), `"debug"`) != (format == "json" && least == slog.LevelDebug) && format == "json" {
				t.Errorf("%s %v: %s", format, least, &out)
			}
			if n := strings.Count(file.String(), "\n"); n != 1 || !strings.Contains(file.String(), "user.put") || !strings.Contains(file.String(), "amqp") {
				t.Errorf("%s %v: the file holds %s", format, least, &file)
			}
			if format == "json" {
				var line struct{ Level, Msg string }
				if err := json.Unmarshal(file.Bytes(), &line); err != nil || line.Level != LevelText || line.Msg != "audit" {
					t.Errorf("%v %+v", err, line)
				}
			}
		}
	}
}

// failing is a file on a disk that is full while full is set.
type failing struct {
	bytes.Buffer
	full bool
}

func (f *failing) Write(b []byte) (int, error) {
	if f.full {
		return 0, errors.New("no space left on device")
	}
	return f.Buffer.Write(b)
}

func TestAFileOfAuditThatCanNotBeWrittenIsSaidOnce(t *testing.T) {
	var out bytes.Buffer
	file := &failing{full: true}
	logger := slog.New(NewHandler("text", slog.LevelInfo, &out, file))
	act := func() { Acted(logger, Process("here"), PutUser, "user 'ann'", "", nil) }
	act()
	act()
	if said, lines := strings.Count(out.String(), "no space left"), strings.Count(out.String(), LevelText); said != 1 || lines != 2 {
		t.Errorf("said %d times, %d lines of audit:\n%s", said, lines, &out)
	}
	file.full = false
	act()
	file.full = true
	act()
	if said := strings.Count(out.String(), "no space left"); said != 2 || strings.Count(file.String(), LevelText) != 1 {
		t.Errorf("said %d times:\n%s", said, &out)
	}
}
