package management

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/broker"
)

// filterBody says which messages are meant: all that is there must hold.
type filterBody struct {
	RoutingKey *string         `json:"routing_key"`
	Exchange   *string         `json:"exchange"`
	Headers    json.RawMessage `json:"headers" schema:"object"`
	Properties json.RawMessage `json:"properties" schema:"object"`
	Contains   *string         `json:"contains"`
	Reason     *string         `json:"reason"`
	Origin     *string         `json:"origin"`
}

// filterParameters are those of a query, of which the last two may be there several times.
var filterParameters = []string{"routing_key", "exchange", "contains", "reason", "origin", "header", "property"}

// maxFilterTerms bounds the headers and the properties of a filter.
const maxFilterTerms = 64

// filterOf reads the filter of a body; nil is none.
func filterOf(text json.RawMessage) (f broker.Filter, err error) {
	if text == nil || string(text) == "null" {
		return f, nil
	}
	fields := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
		return f, badRequest("'filter' must be an object, it is %s", short(text))
	}
	var b filterBody
	if err := fillAll(&b, fields); err != nil {
		return f, err
	}
	f.Key, f.Exchange, f.Reason, f.Origin = b.RoutingKey, b.Exchange, b.Reason, b.Origin
	if b.Contains != nil {
		f.Contains = []byte(*b.Contains)
	}
	if f.Headers, err = terms("headers", b.Headers); err != nil {
		return f, err
	}
	if f.Properties, err = terms("properties", b.Properties); err != nil {
		return f, err
	}
	return f, f.Check()
}

// terms reads names and values of which each must hold.
func terms(what string, text json.RawMessage) (map[string]string, error) {
	if text == nil || string(text) == "null" {
		return nil, nil
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &all); err != nil || all == nil {
		return nil, badRequest("'%s' of the filter must be an object, it is %s", what, short(text))
	}
	if len(all) > maxFilterTerms {
		return nil, badRequest("'%s' of the filter has %d entries; %d are the most", what, len(all), maxFilterTerms)
	}
	out := make(map[string]string, len(all))
	for name, v := range all {
		var s string
		switch {
		case string(v) == "null":
		case json.Unmarshal(v, &s) == nil:
		case v[0] == '{' || v[0] == '[':
			return nil, badRequest("'%s' of the filter: %q must be a text, a number, true or false, it is %s", what, shortName(name), short(v))
		default:
			s = string(v)
		}
		out[name] = s
	}
	return out, nil
}

// shortName is a name as an error quotes it.
func shortName(name string) string { return short(json.RawMessage(name)) }

// filterIn reads the filter of a query.
func filterIn(q url.Values) (f broker.Filter, err error) {
	one := func(name string) *string {
		if v, there := q[name]; there {
			return &v[0]
		}
		return nil
	}
	f.Key, f.Exchange, f.Reason, f.Origin = one("routing_key"), one("exchange"), one("reason"), one("origin")
	if v := one("contains"); v != nil {
		f.Contains = []byte(*v)
	}
	for _, kind := range []struct {
		name string
		into *map[string]string
	}{{"header", &f.Headers}, {"property", &f.Properties}} {
		list := q[kind.name]
		if len(list) > maxFilterTerms {
			return f, badRequest("%d times '%s'; %d are the most", len(list), kind.name, maxFilterTerms)
		}
		for _, term := range list {
			name, value, _ := strings.Cut(term, ":")
			if name == "" {
				return f, badRequest("'%s' must be NAME:VALUE, or NAME alone where it only has to be there, it is %q", kind.name, shortName(term))
			}
			if *kind.into == nil {
				*kind.into = map[string]string{}
			}
			(*kind.into)[name] = value
		}
	}
	return f, f.Check()
}

// fillAll is fill of a body that must have no other fields.
func fillAll(into any, fields map[string]json.RawMessage) error {
	known := schemaFields(into)
	for name := range fields {
		if !slices.Contains(known, name) {
			return badRequest("there is no field '%s' here; there are %s", shortName(name), strings.Join(known, ", "))
		}
	}
	return fill(into, fields)
}

// onlyQuery says what of a query is not known: a filter that is misspelt would otherwise be none.
func onlyQuery(q url.Values, known ...[]string) error {
	all := slices.Concat(known...)
	for name := range q {
		if !slices.Contains(all, name) {
			return badRequest("there is no parameter '%s' here; there are %s", shortName(name), strings.Join(all, ", "))
		}
	}
	return nil
}

// maxTimeMs is later than any time that is meant: the year 5138.
const maxTimeMs = 100_000_000_000_000

// readTime reads a time: milliseconds since 1970, or as RFC 3339 has it.
func readTime(name, text string) (int64, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 && ms <= maxTimeMs {
		return ms, nil
	}
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.UnixMilli() >= 0 && at.UnixMilli() <= maxTimeMs {
		return at.UnixMilli(), nil
	}
	return 0, badRequest("'%s' must be a time: milliseconds since 1970, or as in 2026-11-29T10:00:00Z; it is %q", name, shortName(text))
}
