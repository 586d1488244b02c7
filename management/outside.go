package management

import "net/http"

// outside answers what is not under /api/.
func (c *call) outside(path string) error {
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		return missing()
	}
	switch path {
	case "/":
		return c.stream(http.StatusOK, "text/plain; charset=utf-8", func(o *output) {
			o.buf = append(o.buf, "Leveret "+c.s.opts.Version+"\n\n/api/              the management API, as RabbitMQ has it\n/api/openapi.json  its description\n"...)
		})
	case base, base + "/", "/cli", "/doc/stats.html":
		c.w.Header().Set("Location", base+"/openapi.json")
		return c.empty(http.StatusMovedPermanently)
	}
	return missing()
}
