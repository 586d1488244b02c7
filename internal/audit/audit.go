package audit

import (
	"context"
	"log/slog"
)

// Level is above all others, so that no least level hides it.
const Level = slog.LevelError + 4

// LevelText is how Level is printed.
const LevelText = "AUDIT"

// Act is what was asked for.
type Act string

// The administrative acts, and the login. What else clients may be refused bears the
// name that its protocol has for it. A test holds that each is recorded somewhere.
const (
	Login  Act = "login"
	Reload Act = "settings.reload"

	PutUser              Act = "user.put"
	DeleteUser           Act = "user.delete"
	SetUserLimit         Act = "user-limit.set"
	ClearUserLimit       Act = "user-limit.clear"
	SetPermission        Act = "permission.set"
	ClearPermission      Act = "permission.clear"
	SetTopicPermission   Act = "topic-permission.set"
	ClearTopicPermission Act = "topic-permission.clear"

	PutVHost    Act = "vhost.put"
	DeleteVHost Act = "vhost.delete"

	PutPolicy    Act = "policy.put"
	DeletePolicy Act = "policy.delete"

	SetVHostLimit   Act = "vhost-limit.set"
	ClearVHostLimit Act = "vhost-limit.clear"
	PutParameter    Act = "parameter.put"
	DeleteParameter Act = "parameter.delete"

	CloseConnection Act = "connection.close"

	ImportDefinitions Act = "definitions.import"

	ReplayQueue  Act = "queue.replay"
	RedriveQueue Act = "queue.redrive"
	ResumeJob    Act = "job.resume"
	CancelJob    Act = "job.cancel"
	DropJob      Act = "job.delete"

	Backup Act = "backup"
)

// Outcome is how an act ended.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"
	Refused Outcome = "refused" // whoever asked may not
	Failed  Outcome = "failed"  // it could not be done, or made no sense
)

// Actor is who acts.
type Actor struct {
	User     string // "" where nobody logged in
	From     string // an address; or a file or a signal
	Protocol string
}

// Process is the broker's owner on its machine: what stands in files, and signals.
func Process(from string) Actor { return Actor{From: from, Protocol: "process"} }

// Entry is one line.
type Entry struct {
	Act     Act
	On      string
	VHost   string
	By      Actor
	Outcome Outcome
	Reason  string
}

// Acted records an act that whoever asked for it may do: done, or failed with why.
// A logger that is nil is slog.Default().
func Acted(logger *slog.Logger, by Actor, act Act, on, vhost string, err error) {
	e := Entry{Act: act, On: on, VHost: vhost, By: by, Outcome: Done}
	if err != nil {
		e.Outcome, e.Reason = Failed, err.Error()
	}
	Write(logger, e)
}

// Write writes a line, with what there is to say besides.
func Write(logger *slog.Logger, e Entry, more ...any) {
	if logger == nil {
		logger = slog.Default()
	}
	args := make([]any, 0, 16+len(more))
	for _, field := range [...]struct{ name, value string }{
		{"act", string(e.Act)}, {"on", e.On}, {"vhost", e.VHost}, {"by", e.By.User}, {"from", e.By.From},
		{"protocol", e.By.Protocol}, {"outcome", string(e.Outcome)}, {"reason", e.Reason},
	} {
		if field.value != "" {
			args = append(args, field.name, field.value)
		}
	}
	logger.Log(context.Background(), Level, "audit", append(args, more...)...)
}
