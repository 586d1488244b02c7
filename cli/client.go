package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// maxAtOnce is how many requests are under way at most.
const maxAtOnce = 64

// maxAnswer bounds an answer that is kept whole, in bytes: a million queues have less.
const maxAnswer = 1 << 30

// client asks one broker.
type client struct {
	base           *url.URL
	user, password string
	userGiven      bool // not the one that everybody knows
	http           *http.Client
}

// at is the path of something, below /api/; names may hold anything.
func at(segments ...string) string {
	out := make([]string, len(segments))
	for i, s := range segments {
		out[i] = url.PathEscape(s)
		if s == "." || s == ".." { // which would be steps
			out[i] = strings.ReplaceAll(s, ".", "%2E")
		}
	}
	return strings.Join(out, "/")
}

// request makes one. A body is JSON, unless it is bytes already.
func (c *client) request(ctx context.Context, method, path string, body any) (*http.Request, error) {
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		in = b
	case []byte:
		in = bytes.NewReader(b)
	default:
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		in = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base.String()+"/api/"+path, in)
	if err != nil {
		return nil, err
	}
	r.SetBasicAuth(c.user, c.password)
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, nil
}

// send sends a request. An answer other than one of success is an error, and read.
func (c *client) send(r *http.Request) (*http.Response, error) {
	res, err := c.http.Do(r)
	if err != nil {
		return nil, c.unreached(err)
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.refused(res)
}

// ask asks and reads the answer into a value, unless it is nil, and returns the status.
func (c *client) ask(ctx context.Context, method, path string, body, into any) (int, error) {
	r, err := c.request(ctx, method, path, body)
	if err != nil {
		return 0, err
	}
	res, err := c.send(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if into == nil {
		_, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
		return res.StatusCode, err
	}
	d := json.NewDecoder(io.LimitReader(res.Body, maxAnswer))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return res.StatusCode, c.strange(res, err)
	}
	return res.StatusCode, nil
}

// get reads something.
func (c *client) get(ctx context.Context, path string, into any) error {
	_, err := c.ask(ctx, http.MethodGet, path, nil, into)
	return err
}

// strange is an answer that no broker gives.
func (c *client) strange(res *http.Response, err error) error {
	return fmt.Errorf("%s answers, but not as a broker does (%s, %s): %w; its HTTP API is on port 15672, or where http-addr of its settings says",
		c.base.Redacted(), res.Status, res.Header.Get("Content-Type"), err)
}
