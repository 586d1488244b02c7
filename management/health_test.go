package management

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

// What is asked about the broker is answered by its state.
func TestHealthChecksFailWhenTheBrokerIsIll(t *testing.T) {
	stopping := errors.New("the broker is stopping")
	s := &Server{opts: Options{Node: "rabbit@here", Ready: func() error { return stopping }, Machine: func() Machine { return Machine{Sockets: 7, SocketLimit: 7} }}}
	for path, c := range map[string]struct {
		do   func(*call) error
		want string
	}{
		"service": {(*call).checkService, "the broker is stopping"},
		"room":    {(*call).checkRoom, `"limit":7`},
	} {
		w := httptest.NewRecorder()
		k := &call{s: s, w: w, r: httptest.NewRequest("GET", "/api/health/checks/x", nil)}
		if err := c.do(k); err != nil || w.Code != 503 || !strings.Contains(w.Body.String(), `"status":"failed"`) || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %v, %d %s", path, err, w.Code, w.Body)
		}
	}
}
