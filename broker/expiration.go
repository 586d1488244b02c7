package broker

import (
	"bytes"
	"strconv"
)

// CheckExpiration checks the expiration of a message, which a listener does before Publish: a whole number of
// milliseconds that a queue could have for all of its messages. The words are RabbitMQ's.
func CheckExpiration(text []byte) error {
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
		return fail(Precondition, "invalid expiration '%s': %s%s", text, why, value)
	}
	switch value := string(bytes.TrimLeft(digits, "0")); {
	case n == 0:
		return wrong("no_integer", "")
	case len(rest) > 0:
		return wrong("{leftover_string,", strconv.Quote(string(rest))+"}")
	case negative && ms > 0:
		return wrong("{value_negative,-", value+"}")
	case err != nil || ms > MaxTimeMs:
		return wrong("{value_too_large,", value+"}")
	}
	return nil
}
