package stomp

import (
	"strings"
	"testing"
)

func TestDestinationsAreReadAsRabbitMQDoes(t *testing.T) {
	for text, want := range map[string]destination{
		"/queue/a":               {toQueue, "", "a"},
		"/queue/a%2Fb":           {toQueue, "", "a/b"},
		"/queue/a/b":             {toQueue, "", "a/b"},
		"/queue/a%zz%2":          {toQueue, "", "a%zz%2"},
		"/queue/%C3%BC":          {toQueue, "", "ü"},
		"/amq/queue/a":           {toAmqQueue, "", "a"},
		"/topic/a.b":             {toTopic, topicExchange, "a.b"},
		"/topic/a/b":             {toTopic, topicExchange, "a.b"},
		"/topic/a%2Fb":           {toTopic, topicExchange, "a/b"},
		"/exchange/x":            {toExchange, "x", ""},
		"/exchange/x/k":          {toExchange, "x", "k"},
		"/exchange/x%2Fy/k%2F":   {toExchange, "x/y", "k/"},
		"/temp-queue/t":          {toTemp, "", "t"},
		"/reply-queue/a/b":       {toReply, "", "a/b"},
		"jobs":                   {toQueue, "", "jobs"},
		"amq.gen-x":              {toReply, "", "amq.gen-x"},
		"amq.rabbitmq.reply-to.": {toReply, "", "amq.rabbitmq.reply-to."},
	} {
		if got, err := parseDestination(text); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"": "Unknown", "/": "Unknown", "/foo/a": "Unknown", "a/b": "Unknown", "//queue/a": "Unknown",
		"/queue": "Invalid", "/queue/": "Invalid", "/queuea": "Invalid", "/topic/": "Invalid", "/exchange/": "Invalid", "/exchange//k": "Invalid",
		"/exchange/x/a/b": "Invalid", "/amq/queue/": "Invalid", "/temp-queue/": "Invalid", "/reply-queue/": "Invalid",
	} {
		if _, err := parseDestination(text); err == nil || !strings.HasPrefix(err.Error(), want+" destination") {
			t.Errorf("%s: %v, want %s destination", text, err, want)
		}
	}
}

// Where a message was sent to is a destination that leads there again.
func TestDestinationsAreWrittenSoThatTheyLeadBack(t *testing.T) {
	for _, c := range []struct{ exchange, key, want string }{
		{"", "a", "/queue/a"}, {"", "a/b %ü", "/queue/a%2Fb %25%C3%BC"}, {"amq.topic", "a.b", "/topic/a.b"},
		{"x", "", "/exchange/x"}, {"x/y", "k", "/exchange/x%2Fy/k"},
	} {
		got := string(appendDestination(nil, []byte(c.exchange), []byte(c.key)))
		d, err := parseDestination(got)
		if got != c.want || err != nil || d.exchange != c.exchange || d.key != c.key {
			t.Errorf("%s, %s: %s, read as %v %v", c.exchange, c.key, got, d, err)
		}
	}
}

// FuzzDestination: any text is one destination or an error, and what is one leads to names that lead back to it.
func FuzzDestination(f *testing.F) {
	f.Add("/exchange/x%2f/k%")
	f.Add("/reply-queue//")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDestination(text)
		if err != nil || d.exchange == "" && d.key == "" {
			return
		}
		again, err := parseDestination(string(appendDestination(nil, []byte(d.exchange), []byte(d.key))))
		if err != nil || again.exchange != d.exchange || again.key != d.key {
			t.Errorf("%q is %v, and led back %v %v", text, d, again, err)
		}
	})
}
