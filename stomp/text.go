package stomp

import (
	"bytes"

	"github.com/leveret-mq/leveret/stomp/frame"
)

// maxClip bounds what is said of a client's own words.
const maxClip = 255

func clip(b []byte) string { return string(b[:min(len(b), maxClip)]) }

func trim(b []byte) string { return string(bytes.TrimSpace(b)) }

// isTrue reads a boolean as RabbitMQ does: some clients write Python's.
func isTrue(b []byte) bool { return string(b) == "true" || string(b) == "True" }

func isFalse(b []byte) bool { return string(b) == "false" || string(b) == "False" }

// header is a header's value as a string; "" if there is none.
func header(f *frame.Frame, name string) string {
	value, _ := f.Get(name)
	return string(value)
}

// flag is a header that says yes or no; otherwise is what it means when it says neither.
func flag(f *frame.Frame, name string, otherwise bool) bool {
	value, _ := f.Get(name)
	switch {
	case isTrue(value):
		return true
	case isFalse(value):
		return false
	}
	return otherwise
}

// durable says whether a subscription is to outlast its connection.
func durable(f *frame.Frame) bool {
	return flag(f, "durable", false) || flag(f, "persistent", false)
}
