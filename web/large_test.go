package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/web"
)

// flood is an API whose lists do not end until nobody wants more; sent is how much of them it sent, in MiB.
type flood struct {
	echo
	sent *int
}

func (f flood) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, "/api/queues") {
		f.echo.ServeHTTP(w, r)
		return
	}
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			panic(http.ErrAbortHandler)
		}
		*f.sent++
	}
}

func TestAnAnswerThatIsTooLargeEndsWithAWord(t *testing.T) {
	r := httptest.NewRequest("GET", "/queues", nil)
	r.SetBasicAuth("x", "x")
	w := httptest.NewRecorder()
	sent := 0
	web.New(web.Options{API: flood{sent: &sent}}).Handler(false).ServeHTTP(w, r)
	if w.Code != 500 || !strings.Contains(w.Body.String(), "There is more than a page can show") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if sent > 8 {
		t.Errorf("%d MiB were held", sent)
	}
}
