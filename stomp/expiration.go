package stomp

import (
	"bytes"
	"strconv"

	"github.com/leveret-mq/leveret/broker"
)

// checkExpiration checks the expiration of a message as package amqp does: a whole number of milliseconds that a queue
// could have for all of its messages.
func checkExpiration(text []byte) error {
	digits := bytes.TrimPrefix(text, []byte("+"))
	negative := len(digits) == len(text) && bytes.HasPrefix(text, []byte("-"))
	if negative {
		digits = text[1:]
	}
	n := 0
	for n < len(digits) && digits[n] >= '0' && digits[n] <= '9' {
		n++
	}
	rest, digits := digits[n:], digits[:n]
	ms, err := strconv.ParseInt(string(digits), 10, 64)
	wrong := func(why, value string) error {
		return fail("precondition_failed", "invalid expiration '%s': %s%s", text, why, value)
	}
	switch value := string(bytes.TrimLeft(digits, "0")); {
	case n == 0:
		return wrong("no_integer", "")
	case len(rest) > 0:
		return wrong("{leftover_string,", strconv.Quote(string(rest))+"}")
	case negative && ms > 0:
		return wrong("{value_negative,-", value+"}")
	case err != nil || ms > broker.MaxTimeMs:
		return wrong("{value_too_large,", value+"}")
	}
	return nil
}
