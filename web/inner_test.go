package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/internal/fakeclock"
)

// withToken is a request that a browser with that token sends.
func withToken(token string) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(&http.Cookie{Name: "leveret", Value: token})
	return r
}

func TestASessionEndsWithoutUseAndAfterADay(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var s sessions
		idle, busy := s.start(visitor{"ann", "secret"}), s.start(visitor{"ann", "secret"})
		for range 11 {
			time.Sleep(2*time.Hour - time.Minute)
			if _, who := s.of(withToken(busy), true); who == nil || *who != (visitor{"ann", "secret"}) {
				t.Fatalf("a session that is used ended: %v", who)
			}
			s.of(withToken(idle), false) // the script is nobody's use
		}
		if _, who := s.of(withToken(idle), true); who != nil {
			t.Error("a session that nobody uses goes on")
		}
		time.Sleep(3 * time.Hour)
		if _, who := s.of(withToken(busy), true); who != nil {
			t.Error("a session outlasts a day")
		}
		if len(s.all) != 0 {
			t.Errorf("%d sessions are kept that are over", len(s.all))
		}
	})
}

func TestSessionsAreBoundedAndTheIdlestMakesRoom(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var s sessions
		first := s.start(visitor{"ann", "x"})
		for range maxSessionsOf {
			time.Sleep(time.Millisecond)
			s.start(visitor{"ann", "x"})
		}
		if k, _ := s.of(withToken(first), true); k != nil || len(s.all) != maxSessionsOf {
			t.Errorf("%d sessions of one user", len(s.all))
		}
		for i := range maxSessions {
			time.Sleep(time.Millisecond)
			s.start(visitor{fmt.Sprint(i), "x"})
		}
		if len(s.all) != maxSessions {
			t.Errorf("%d sessions", len(s.all))
		}
	})
}

func TestNoPasswordStandsInWhatIsKept(t *testing.T) {
	var s sessions
	token := s.start(visitor{"ann", "a password of ann's"})
	for _, k := range s.all {
		if kept := fmt.Sprintf("%s %s %q", k.key, k.sealed, token); strings.Contains(string(k.sealed), "password") || strings.Contains(fmt.Sprintf("%s", k.key), token) {
			t.Errorf("kept: %s", kept)
		}
	}
	for _, other := range []string{"", "x", token + "x", token[1:]} {
		if k, who := s.of(withToken(other), true); k != nil || who != nil {
			t.Errorf("the token %q is taken", other)
		}
	}
}

func TestOverTLSTheCookieIsSecure(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	secure := r.WithContext(withSecure(r.Context(), true))
	if c := cookie(secure, "x", 0); !c.Secure || c.Name != "__Host-leveret" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("%v", c)
	}
	if c := cookie(r, "x", 0); c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode {
		t.Errorf("%v", c)
	}
}

func TestAFragmentIsMadeOnceForManyBrowsersOfAUser(t *testing.T) {
	fakeclock.Test(t, func(t *testing.T) {
		var f fragments
		var made, wg = 0, sync.WaitGroup{}
		for range 10 {
			wg.Go(func() {
				f.of(fragmentKey{"ann", "/"}, time.Now()).once.Do(func() { made++ })
			})
		}
		wg.Wait()
		f.of(fragmentKey{"bob", "/"}, time.Now()).once.Do(func() { made++ })
		f.of(fragmentKey{"ann", "/queues"}, time.Now()).once.Do(func() { made++ })
		if made != 3 {
			t.Errorf("made %d times", made)
		}
		time.Sleep(fragmentLife)
		f.of(fragmentKey{"ann", "/"}, time.Now()).once.Do(func() { made++ })
		if made != 4 {
			t.Error("an old one was shown")
		}
		for i := range 3 * maxFragments {
			f.of(fragmentKey{"ann", fmt.Sprint(i)}, time.Now())
		}
		if len(f.all) > maxFragments {
			t.Errorf("%d are kept", len(f.all))
		}
	})
}

func TestHistoryIsBoundedAndEachUsersOwn(t *testing.T) {
	var h history
	at := time.Unix(1_000_000, 0)
	for i := range 2 * maxSamples {
		h.note(historyKey{"ann", "a"}, at.Add(time.Duration(i)*sampleEvery), float64(i))
	}
	at = at.Add(2 * maxSamples * sampleEvery)
	if got := h.note(historyKey{"ann", "a"}, at, 5); len(got) != maxSamples || got[len(got)-1].values[0] != 5 {
		t.Errorf("%d samples", len(got))
	}
	if got := h.note(historyKey{"ann", "a"}, at.Add(sampleEvery/2), 6); len(got) != maxSamples+1 { // what is newest is shown, and not kept
		t.Errorf("%d samples", len(got))
	}
	if got := h.note(historyKey{"bob", "a"}, at, 1); len(got) != 1 {
		t.Errorf("bob sees %d samples", len(got))
	}
	for i := range 2 * maxTracks {
		h.note(historyKey{"ann", fmt.Sprint(i)}, at.Add(time.Duration(i)*time.Second), 1)
	}
	if len(h.all) > maxTracks {
		t.Errorf("%d objects", len(h.all))
	}
}

func TestRatesAreThoseBetweenSamples(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	samples := []sample{{at.Add(-2 * window), []float64{0}}, {at.Add(-4 * time.Second), []float64{100}}, {at.Add(-2 * time.Second), []float64{120}}, {at, []float64{10}}}
	got := perSecond(samples, 0)
	if len(got) != 3 || got[1].value != 10 || got[2].value != 0 { // a counter that began anew is no rate below 0
		t.Errorf("%v", got)
	}
	if got := gauges(samples, 0); len(got) != 3 || got[0].value != 100 {
		t.Errorf("%v", got)
	}
}

func TestAChartIsDrawnToARoundNumber(t *testing.T) {
	at := time.Unix(1_000_000, 0)
	c := draw("T", count2, drawn{"a", "c1", []point{{at, 0}, {at.Add(5 * time.Minute), 37_000}}}, drawn{"b", "c2", nil})
	if c.Top != "50 k" || c.Middle != "25 k" || c.Back != "5 min ago" || c.Lines[0].Now != "37\u202f000" || c.Lines[0].Path != "M0.0 119.0L600.0 31.7" || !c.Waiting || c.Lines[1].Path != "" {
		t.Errorf("%+v", c)
	}
	for v, want := range map[float64]float64{0: 1, 1: 1, 1.5: 2, 3: 5, 9: 10, 10: 10, 11: 20, 24: 25, 99: 100, 2_500_001: 5_000_000} {
		if got := round(v); got != want {
			t.Errorf("round(%v) = %v, want %v", v, got, want)
		}
	}
}

func count2(f float64) string { return count(f) }

func TestFiguresAsPeopleReadThem(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{count(1234567), "1\u202f234\u202f567"}, {count(-1000), "−1\u202f000"}, {count(999), "999"}, {rate(0), "0"}, {rate(0.04), "0"}, {rate(9.96), "10"}, {rate(3), "3"}, {rate(12.6), "13"},
		{bytesText(0), "0\u202fB"}, {bytesText(1536), "1.5\u202fKiB"}, {bytesText(int64(10 << 30)), "10\u202fGiB"}, {bytesText(1 << 60), "1048576\u202fTiB"},
		{age(0), "0 s"}, {age(59 * time.Second), "59 s"}, {age(61 * time.Second), "1 min 1 s"}, {age(45 * time.Minute), "45 min"}, {age(26 * time.Hour), "26 h"}, {age(50 * time.Hour), "2 d 2 h"},
		{since(0), "–"}, {clock(0), "–"}, {clock(1_000_000_000_000), "2001-09-09 01:46:40 UTC"}, {cut(4, "äöüß"), "äöüß"}, {cut(3, "äöüß"), "äö…"},
		{moment("2026-11-29 10:00"), "2026-11-29T10:00:00Z"}, {moment("2026-11-29"), "2026-11-29T00:00:00Z"}, {moment("2026-11-29T10:00:00+02:00"), "2026-11-29T10:00:00+02:00"},
		{moment("2026-11-29 10:00:05 UTC"), "2026-11-29T10:00:05Z"}, {moment("1795946400000"), "1795946400000"}, {moment(""), ""},
		{query("/q", "a", "x&y", "b", "", "c", 1), "/q?a=x%26y&c=1"}, {place("/q", "a/b"), "/q/a%2Fb"}, {plural(1, "a", "b"), "1 a"}, {plural(2000, "a", "b"), "2\u202f000 b"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}

func FuzzSettings(f *testing.F) {
	f.Add("x-max-length=1000\nx-overflow=reject-publish")
	f.Add(" a = {\"b\": [1, null, 1e400]} \r\n\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		settings, err := readSettings(text)
		if err != nil {
			if statusOf(err) != http.StatusBadRequest {
				t.Errorf("%v", err)
			}
			return
		}
		if _, err := json.Marshal(settings); err != nil {
			t.Errorf("%q can't be sent: %v", text, err)
		}
		for name := range settings {
			if name == "" || strings.Contains(name, "\n") {
				t.Errorf("the name %q", name)
			}
		}
		if s := moment(text); text != "" && s == "" {
			t.Errorf("%q is no time, and was taken for none", text)
		}
	})
}
