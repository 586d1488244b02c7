package stomp

import (
	"strings"
)

// kind is what stands first in a destination.
type kind uint8

const (
	toQueue    kind = iota + 1 // /queue/N, or a name alone
	toAmqQueue                 // /amq/queue/N
	toTopic                    // /topic/K
	toExchange                 // /exchange/X[/K]
	toTemp                     // /temp-queue/N
	toReply                    // /reply-queue/N
)

// destination is one, read.
//
//	               exchange    key
//	/queue/N       ""          N         the queue is declared
//	/amq/queue/N   ""          N
//	/topic/K       amq.topic   K
//	/exchange/X/K  X           K         K may be missing
//	/reply-queue/N ""          N         N with all slashes
//	/temp-queue/N  ""          N         the client's own name for a queue of its connection
type destination struct {
	kind     kind
	exchange string
	key      string
}

const (
	topicExchange = "amq.topic"
	tempPrefix    = "/temp-queue/"
	replyPrefix   = "/reply-queue/"
)

// prefixes are the beginnings of destinations, as RabbitMQ lists them.
var prefixes = []struct {
	text string
	kind kind
	name string
}{
	{"/temp-queue", toTemp, "temp_queue"}, {"/exchange", toExchange, "exchange"}, {"/queue", toQueue, "queue"},
	{"/topic", toTopic, "topic"}, {"/amq/queue", toAmqQueue, "amqqueue"}, {"/reply-queue", toReply, "reply_queue"},
}

// parseDestination reads a destination. Names in it have %2F for a slash, which RabbitMQ asks for; clients of
// other brokers write it as it is, which is taken where it can mean nothing else.
func parseDestination(text string) (destination, error) {
	for _, p := range prefixes {
		rest, ok := strings.CutPrefix(text, p.text)
		if !ok {
			continue
		}
		rest, ok = strings.CutPrefix(rest, "/")
		d := destination{kind: p.kind, key: rest}
		if !ok || !d.names(rest) {
			return d, fail("Invalid destination", "'%s' is not a valid %s destination", "/"+rest, p.name)
		}
		return d, nil
	}
	if text != "" && !strings.Contains(text, "/") {
		name := percent(text)
		if strings.HasPrefix(name, "amq.") { // such as the address of who waits for a reply: it is there or not
			return destination{kind: toReply, key: name}, nil
		}
		return destination{kind: toQueue, key: name}, nil
	}
	var known []string
	for _, p := range prefixes {
		known = append(known, p.text)
	}
	return destination{}, fail("Unknown destination", "'%s' is not a valid destination.\nValid destination types are: %s.", text, strings.Join(known, ", "))
}

// names takes what stands behind the prefix.
func (d *destination) names(rest string) bool {
	switch d.kind {
	case toReply:
		d.key = rest // which has what slashes it has
		return rest != ""
	case toTopic:
		d.exchange, d.key = topicExchange, percent(strings.ReplaceAll(rest, "/", "."))
		return rest != ""
	case toExchange:
		name, key, _ := strings.Cut(rest, "/")
		d.exchange, d.key = percent(name), percent(key)
		return name != "" && !strings.Contains(key, "/")
	}
	d.key = percent(rest)
	return rest != ""
}

// percent resolves %XX. What is not two hexadecimal digits is meant as it stands.
func percent(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			high, low := hex(s[i+1]), hex(s[i+2])
			if high >= 0 && low >= 0 {
				b = append(b, byte(high<<4|low))
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func hex(ch byte) int {
	switch {
	case ch >= '0' && ch <= '9':
		return int(ch - '0')
	case ch >= 'a' && ch <= 'f':
		return int(ch-'a') + 10
	case ch >= 'A' && ch <= 'F':
		return int(ch-'A') + 10
	}
	return -1
}

// appendDestination writes where a message was sent to, as it could be sent there again.
func appendDestination(buf []byte, exchange, key []byte) []byte {
	exchange = undelayed(exchange)
	switch {
	case len(exchange) == 0:
		buf = append(buf, "/queue/"...)
	case string(exchange) == topicExchange:
		buf = append(buf, "/topic/"...)
	default:
		buf = appendPercent(append(buf, "/exchange/"...), exchange)
		if len(key) == 0 {
			return buf
		}
		buf = append(buf, '/')
	}
	return appendPercent(buf, key)
}

// appendPercent writes a name. As on RabbitMQ all that is not printable ASCII is escaped.
func appendPercent(buf, name []byte) []byte {
	const digits = "0123456789ABCDEF"
	for _, ch := range name {
		if ch == '/' || ch == '%' || ch < 32 || ch > 126 {
			buf = append(buf, '%', digits[ch>>4], digits[ch&15])
		} else {
			buf = append(buf, ch)
		}
	}
	return buf
}
