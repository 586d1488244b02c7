package management

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/leveret-mq/leveret/internal/pattern"
)

// listing is what a list is of, by number and in its default order. Objects are made for those only that are shown, and of the others only
// what they are sorted and searched by.
type listing interface {
	length() int
	name(i int) string              // for ?name=
	value(i int, path []string) any // for ?sort=
	object(i int, w *wanted) object // with the fields that are wanted, or more
}

// objects is a listing of what is made already.
type objects []object

func (l objects) length() int { return len(l) }

func (l objects) name(i int) string {
	name, _ := l[i].get("name")
	text, _ := name.(string)
	return text
}

func (l objects) value(i int, path []string) any { return lookup(l[i], path) }
func (l objects) object(i int, _ *wanted) object { return l[i] }

// list answers with objects, as the request asks for them.
func (c *call) list(l []object) error { return c.listOf(objects(l)) }

// listOf is list of what is made only where it is shown.
func (c *call) listOf(l listing) error {
	p, err := c.page()
	if err != nil {
		return err
	}
	order := make([]int, 0, l.length())
	for i := range l.length() {
		if err := c.r.Context().Err(); err != nil {
			return unavailable(err.Error()) // nobody waits for it
		}
		if p == nil || p.matches(l.name(i)) {
			order = append(order, i)
		}
	}
	c.sort(l, order)
	w := c.columns()
	if p == nil {
		return c.stream(http.StatusOK, "application/json", func(o *output) { o.items(l, order, w) })
	}
	first, last, pages, err := p.cut(len(order))
	if err != nil {
		return err
	}
	return c.stream(http.StatusOK, "application/json", func(o *output) {
		head := object{{"filtered_count", len(order)}, {"item_count", last - first}}.append(o.buf)
		o.buf = append(head[:len(head)-1], `,"items":`...)
		o.items(l, order[first:last], w)
		tail := object{{"page", p.page}, {"page_count", pages}, {"page_size", p.size}, {"total_count", l.length()}}.append(nil)
		o.buf = append(append(o.buf, ','), tail[1:]...)
	})
}

// items appends the list itself.
func (o *output) items(l listing, order []int, w *wanted) {
	o.buf = append(o.buf, '[')
	for n, i := range order {
		if n > 0 {
			o.buf = append(o.buf, ',')
		}
		o.buf = w.of(l.object(i, w)).append(o.buf)
		if !o.room() {
			return
		}
	}
	o.buf = append(o.buf, ']')
}

// Bounds of pages, which are RabbitMQ's.
const (
	pageSize    = 100
	maxPageSize = 500
	maxPattern  = 1024
)

// page is the part of a list that is asked for.
type page struct {
	page, size int
	contains   string // in lower case
	pattern    *regexp.Regexp
}

// page reads the parameters of paging; nil when the whole list is asked for.
func (c *call) page() (*page, error) {
	q := c.r.URL.Query()
	if !c.row.paged || !q.Has("page") {
		return nil, nil
	}
	number, err1 := strconv.Atoi(q.Get("page"))
	size, err2 := pageSize, error(nil)
	if q.Has("page_size") {
		size, err2 = strconv.Atoi(q.Get("page_size"))
	}
	if err1 != nil || err2 != nil {
		return nil, badRequest("Pagination parameters are invalid")
	}
	if number < 1 || size < 1 || size > maxPageSize {
		return nil, &failure{status: http.StatusBadRequest, err: "invalid_pagination_parameters",
			reason: fmt.Sprintf("Invalid pagination parameters: page number %d page size %d", number, size)}
	}
	p := &page{page: number, size: size}
	name := q.Get("name")
	if q.Get("use_regex") != "true" {
		p.contains = strings.ToLower(name)
		return p, nil
	}
	if len(name) > maxPattern {
		return nil, badRequest("Pagination parameters are invalid: the regular expression is longer than %d bytes", maxPattern)
	}
	if p.pattern, err1 = pattern.Search(name); err1 != nil {
		return nil, badRequest("Pagination parameters are invalid: %v", err1)
	}
	return p, nil
}

func (p *page) matches(name string) bool {
	if p.pattern != nil {
		return p.pattern.MatchString(name)
	}
	return p.contains == "" || strings.Contains(strings.ToLower(name), p.contains)
}

// cut is which of n items are on the page.
func (p *page) cut(n int) (first, last, pages int, err error) {
	pages = max(1, (n+p.size-1)/p.size)
	if p.page > pages {
		return 0, 0, 0, &failure{status: http.StatusBadRequest, err: "page_out_of_range",
			reason: fmt.Sprintf("Page out of range, page: %d page size: %d, len: %d", p.page, p.size, n)}
	}
	first = (p.page - 1) * p.size
	return first, min(first+p.size, n), pages, nil
}

// sort brings numbers of items into the order that is asked for.
func (c *call) sort(l listing, order []int) {
	path := c.query("sort")
	if path != "" {
		names := strings.Split(path, ".")
		keys := make([]sortKey, len(order))
		for n, i := range order {
			keys[n].rank, keys[n].n, keys[n].s = rank(l.value(i, names))
			keys[n].item, keys[n].place = i, n
		}
		slices.SortFunc(keys, sortKey.compare)
		for n := range keys {
			order[n] = keys[n].item
		}
	}
	if c.flag("sort_reverse") {
		slices.Reverse(order)
	}
}

// sortKey is what an item is sorted by. The order of values is RabbitMQ's: numbers, then what is true or false, then strings, then the rest. What
// is not there counts as 0. Equal ones stay in their places.
type sortKey struct {
	rank        int
	n           float64
	s           string
	item, place int
}

func (a sortKey) compare(b sortKey) int {
	if c := cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.n, b.n)); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.s, b.s), cmp.Compare(a.place, b.place))
}

func rank(v any) (rank int, n float64, s string) {
	switch v := v.(type) {
	case nil:
		return 0, 0, ""
	case int:
		return 0, float64(v), ""
	case int64:
		return 0, float64(v), ""
	case uint64:
		return 0, float64(v), ""
	case float64:
		return 0, v, ""
	case bool:
		if v {
			return 1, 1, ""
		}
		return 1, 0, ""
	case string:
		return 2, 0, v
	}
	return 3, 0, ""
}

// wanted is what ?columns= names, as a tree. Nil is everything.
type wanted struct{ below map[string]*wanted }

// maxColumns bounds them.
const maxColumns = 500

// columns reads ?columns=.
func (c *call) columns() *wanted {
	text := c.query("columns")
	if text == "" {
		return nil
	}
	root := &wanted{below: map[string]*wanted{}}
	for _, path := range strings.SplitN(text, ",", maxColumns) {
		at := root
		names := strings.Split(path, ".")
		for i, name := range names {
			next, there := at.below[name]
			switch {
			case i == len(names)-1:
				at.below[name] = nil // all of it
			case there && next == nil:
			default:
				if !there {
					next = &wanted{below: map[string]*wanted{}}
					at.below[name] = next
				}
				at = next
				continue
			}
			break
		}
	}
	return root
}

// asks says whether a field is wanted.
func (w *wanted) asks(name string) bool {
	if w == nil {
		return true
	}
	_, ok := w.below[name]
	return ok
}

// of is what of an object is wanted.
func (w *wanted) of(o object) object {
	if w == nil {
		return o
	}
	out := make(object, 0, len(w.below))
	for _, p := range o {
		below, ok := w.below[p.name]
		if !ok {
			continue
		}
		out = append(out, pair{p.name, below.within(p.value)})
	}
	return out
}

// within is of for a value, of lists for each item.
func (w *wanted) within(v any) any {
	if w == nil {
		return v
	}
	switch v := v.(type) {
	case object:
		return w.of(v)
	case []object:
		out := make([]object, len(v))
		for i := range v {
			out[i] = w.of(v[i])
		}
		return out
	}
	return v
}
