// Package check is what the Go interop programs share: addresses from the
// environment, named checks with a time limit, and one output line a check,
// `PASS name (seconds)` or `FAIL name: reason`.
package check

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
)

// AMQP, Kafka, STOMP and HTTP are the brokers' addresses, SASL and SCRAM are "user:password" or empty.
var (
	AMQP  = env("AMQP_ADDR", "127.0.0.1:5672")
	Kafka = env("KAFKA_ADDR", "127.0.0.1:9092")
	STOMP = env("STOMP_ADDR", "127.0.0.1:61613")
	HTTP  = env("HTTP_ADDR", "127.0.0.1:15672")
	SASL  = env("KAFKA_SASL", "")
	SCRAM = env("KAFKA_SCRAM", "")
)

var run = func() string {
	b := make([]byte, 4)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}()

// patience is how many times its limit a check gets: limits are what it takes at most on a machine of its
// own, not on one that does other things beside it.
const patience = 3

type item struct {
	title string
	limit time.Duration
	run   func(ctx context.Context)
}

var items []item

// Credentials splits SASL; ok is false when there is none.
func Credentials() (user, password string, ok bool) { return strings.Cut(SASL, ":") }

// Logins adds a check for each SCRAM mechanism: try logs in, and tells how that went. Only a
// broker that is Leveret has them as it comes.
func Logins(try func(ctx context.Context, mechanism, user, password string) error) {
	user, password, ok := strings.Cut(SCRAM, ":")
	if !ok {
		return
	}
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		Add(mechanism+": the right password gets in, a wrong one does not", 40*time.Second, func(ctx context.Context) {
			OK(try(ctx, mechanism, user, password), "the right password")
			if try(ctx, mechanism, user, "wrong") == nil {
				Fail("a wrong password gets in")
			}
		})
	}
}

// Name makes a queue, exchange, topic or group name of this run.
func Name(what string) string {
	return "interop." + filepath.Base(os.Args[0]) + "." + what + "." + run
}

// Add registers a check, which may take limit, times patience. It fails by calling Fail, directly or through the helpers below.
func Add(title string, limit time.Duration, f func(ctx context.Context)) {
	items = append(items, item{title, limit * patience, f})
}

type failure string

// Fail ends the check that calls it. Only the check's own goroutine may call it.
func Fail(format string, args ...any) { panic(failure(fmt.Sprintf(format, args...))) }

// OK fails unless err is nil.
func OK(err error, what string) {
	if err != nil {
		Fail("%s: %v", what, err)
	}
}

// Get is OK for a call that returns a value.
func Get[T any](v T, err error) T {
	OK(err, "call")
	return v
}

// Equal fails unless got and want are deeply equal.
func Equal(got, want any, what string) {
	if !reflect.DeepEqual(got, want) {
		Fail("%s: got %s, want %s", what, short(got), short(want))
	}
}

func short(v any) string {
	s := fmt.Sprintf("%+v", v)
	if len(s) > 300 {
		s = s[:300] + "…"
	}
	return s
}

// Until waits for a condition.
func Until(ctx context.Context, what string, condition func() bool) {
	for !condition() {
		select {
		case <-ctx.Done():
			Fail("%s: not in time", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Main runs all checks and exits, with 1 if any failed.
func Main() {
	failed := 0
	for _, it := range items {
		if !strings.Contains(it.title, os.Getenv("ONLY")) {
			continue
		}
		start := time.Now()
		if reason := one(it); reason != "" {
			failed++
			fmt.Printf("FAIL %s: %s\n", it.title, strings.Join(strings.Fields(reason), " "))
		} else {
			fmt.Printf("PASS %s (%.1f s)\n", it.title, time.Since(start).Seconds())
		}
	}
	if failed > 0 {
		os.Exit(1)
	}
}

func one(it item) string {
	ctx, cancel := context.WithTimeout(context.Background(), it.limit)
	defer cancel()
	done := make(chan string, 1)
	go func() {
		defer func() {
			switch r := recover().(type) {
			case nil:
				done <- ""
			case failure:
				done <- string(r)
			default:
				done <- fmt.Sprintf("panic: %v", r)
			}
		}()
		it.run(ctx)
	}()
	select {
	case reason := <-done:
		return reason
	case <-time.After(it.limit + 5*time.Second):
		return "the check's time limit is over"
	}
}

func env(name, fallback string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return fallback
}
