package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// generator makes up the access log of a small shop's six services, in Apache's
// vhost_combined format with nginx's request time at the end. The same seed, end
// and number give the same lines. What is realistic about it: popularity of paths
// by Zipf's law, latencies with a long tail, load that rises and falls, a few
// errors everywhere, and an incident of four minutes, in which the checkout is
// slow and fails for a quarter of its requests.
type generator struct {
	rng   *rand.Rand
	start time.Time
	span  time.Duration
	total int
	made  int
	seed  uint64
	text  []byte
	keys  keys

	second int64 // the second that stamp spells
	stamp  []byte
}

type service struct {
	name    string
	share   float64 // of all requests
	latency float64 // median in milliseconds
	bytes   float64 // median body
	errors  float64 // share of 5xx
	paths   []string
	rank    *rand.Zipf
}

var services = []*service{
	{name: "web", share: 0.42, latency: 4, bytes: 9000, errors: 0.0005, paths: []string{
		"/", "/static/app.js", "/static/app.css", "/static/logo.svg", "/favicon.ico", "/about", "/blog", "/blog/2026/summer", "/robots.txt", "/static/fonts/inter.woff2", "/contact", "/jobs", "/press", "/sitemap.xml", "/.env", "/wp-login.php"}},
	{name: "shop", share: 0.20, latency: 28, bytes: 21000, errors: 0.002, paths: []string{
		"/category/%d", "/product/%d", "/product/%d/reviews", "/basket", "/offers", "/category/%d/page/2"}},
	{name: "search", share: 0.12, latency: 75, bytes: 6000, errors: 0.003, paths: []string{"/search", "/suggest", "/search/advanced", "/search/export"}},
	{name: "api", share: 0.14, latency: 11, bytes: 900, errors: 0.002, paths: []string{
		"/v1/stock/%d", "/v1/price/%d", "/v1/orders", "/v1/customers/%d", "/v1/health", "/v2/events"}},
	{name: "auth", share: 0.05, latency: 35, bytes: 400, errors: 0.001, paths: []string{"/login", "/token", "/logout", "/password/reset"}},
	{name: "checkout", share: 0.07, latency: 120, bytes: 2500, errors: 0.006, paths: []string{"/cart", "/payment", "/address", "/confirm", "/voucher"}},
}

var agents = []string{
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Mobile/15E148 Safari/604.1",
	"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
	"Mozilla/5.0 (compatible; examplebot/2.1; +http://bot.example.com/)",
	"okhttp/5.1.0", "curl/8.14.1",
}

const (
	generatedSpan = time.Hour
	// The incident, as parts of the span.
	incidentStart, incidentEnd = 24.0 / 60, 28.0 / 60
)

// newGenerator makes total lines whose times are spread over the hour before end.
func newGenerator(seed uint64, total int, end time.Time) *generator {
	g := &generator{rng: rand.New(rand.NewPCG(seed, 0x6c6576)), start: end.Add(-generatedSpan).Truncate(time.Second), span: generatedSpan,
		total: total, seed: seed, keys: keys{}, second: math.MinInt64}
	for _, s := range services {
		s.rank = rand.NewZipf(g.rng, 1.3, 2, uint64(len(s.paths)-1))
	}
	return g
}

func (g *generator) Lines() int { return g.total }

func (g *generator) Describe() string {
	return fmt.Sprintf("%s GENERATED lines (seed %d): not a real log, but one hour of a made-up shop's; give LOGS=file-or-directory for your own",
		demo.Grouped(g.total), g.seed)
}

func (g *generator) Next() (Entry, error) {
	if g.made == g.total {
		return Entry{}, io.EOF
	}
	x := float64(g.made) / float64(g.total)
	g.made++
	// Load rises and falls three times in the span; times never go back.
	at := g.start.Add(time.Duration((x + 0.6*math.Sin(6*math.Pi*x)/(6*math.Pi)) * float64(g.span)))
	incident := x >= incidentStart && x < incidentEnd
	s := g.pick()
	status, slow := g.outcome(s, incident)
	g.write(s, at, status, slow)
	l := Line{Status: status}
	return Entry{Text: g.text, Time: at.Truncate(time.Second), Key: g.keys.of(s.name, l.Level()), Error: status >= 500}, nil
}

func (g *generator) pick() *service {
	r := g.rng.Float64()
	for _, s := range services {
		if r -= s.share; r < 0 {
			return s
		}
	}
	return services[0]
}

// outcome draws a status, and by how much the request was slower than usual.
func (g *generator) outcome(s *service, incident bool) (status int, slow float64) {
	r := g.rng.Float64()
	if incident && s.name == "checkout" {
		if r < 0.25 {
			return 502 + g.rng.IntN(3), 30
		}
		return 200, 6
	}
	switch {
	case r < s.errors:
		return 500 + g.rng.IntN(4), 3
	case r < s.errors+0.018:
		return 404, 0.5
	case r < s.errors+0.026:
		return []int{400, 401, 403, 429}[g.rng.IntN(4)], 0.3
	case r < s.errors+0.10:
		return 304, 0.3
	case r < s.errors+0.13:
		return []int{301, 302}[g.rng.IntN(2)], 0.4
	}
	return 200, 1
}

func (g *generator) write(s *service, at time.Time, status int, slow float64) {
	b := append(append(g.text[:0], s.name...), ".example.com:443 "...)
	b = g.client(b)
	b = append(b, " - - ["...)
	if sec := at.Unix(); sec != g.second {
		g.second, g.stamp = sec, at.UTC().AppendFormat(g.stamp[:0], "02/Jan/2006:15:04:05 -0700")
	}
	b = append(append(b, g.stamp...), `] "`...)
	method := "GET "
	if (s.name == "checkout" || s.name == "auth") && g.rng.IntN(3) > 0 {
		method = "POST "
	}
	b = g.path(append(b, method...), s)
	b = strconv.AppendInt(append(b, ` HTTP/2.0" `...), int64(status), 10)
	size := int64(0)
	if status != 304 {
		size = int64(s.bytes * math.Exp(g.rng.NormFloat64()))
	}
	b = strconv.AppendInt(append(b, ' '), size, 10)
	b = append(b, ` "https://www.example.com/" "`...)
	b = append(append(b, agents[min(g.rng.IntN(len(agents)), g.rng.IntN(len(agents)))]...), `" `...)
	took := s.latency * slow * math.Exp(0.6*g.rng.NormFloat64()) / 1000
	g.text = strconv.AppendFloat(b, took, 'f', 3, 64)
}

// client writes an address of the ranges that are set aside for examples.
func (g *generator) client(b []byte) []byte {
	n := g.rng.IntN(2000)
	if n%10 == 0 {
		return strconv.AppendInt(append(b, "2001:db8::"...), int64(n), 16)
	}
	b = append(b, []string{"192.0.2.", "198.51.100.", "203.0.113."}[n%3]...)
	return strconv.AppendInt(b, int64(n%254+1), 10)
}

func (g *generator) path(b []byte, s *service) []byte {
	for _, c := range []byte(s.paths[s.rank.Uint64()]) {
		switch c {
		case '%': // %d: a number, small ones more often
			b = strconv.AppendInt(b, int64(math.Exp(g.rng.Float64()*7)), 10)
		case 'd':
			if b[len(b)-1] >= '0' && b[len(b)-1] <= '9' {
				continue
			}
			fallthrough
		default:
			b = append(b, c)
		}
	}
	if s.name == "search" {
		b = append(b, "?q=term"...)
		b = strconv.AppendInt(b, int64(g.rng.IntN(5000)), 10)
	}
	return b
}
