package web

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Bounds of sessions. They are kept in memory: after a restart everybody signs in again.
const (
	maxSessions   = 1000 // of all; the one that was idle longest makes room
	maxSessionsOf = 50   // of one user
	sessionIdle   = 2 * time.Hour
	sessionLife   = 24 * time.Hour
)

// session is a browser in which somebody signed in. The password goes with each request to the API, as it does for every client, so that
// a session ends with it; it is sealed with the token, which only the browser keeps.
type session struct {
	key    [sha256.Size]byte // what the token is found by
	user   string
	sealed []byte // the password
	begun  time.Time
	used   time.Time // by a person
	done   string    // what the page that is shown next has to tell
}

// visitor is who signed in.
type visitor struct{ name, password string }

// sessions are those that there are.
type sessions struct {
	mu  sync.Mutex // guards all below, and what changes in a session
	all map[[sha256.Size]byte]*session
}

// seal is what keeps the password of a session, given its token.
func seal(token string) cipher.AEAD {
	key := sha256.Sum256([]byte("password " + token))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // the key is as long as it has to be
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block that it needs
	}
	return aead
}

// start begins a session, and returns its token.
func (s *sessions) start(who visitor) string {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails on the systems Go supports
	token, now := base64.RawURLEncoding.EncodeToString(secret[:]), time.Now()
	fresh := &session{key: sha256.Sum256([]byte(token)), user: who.name, sealed: seal(token).Seal(nil, nil, []byte(who.password), nil), begun: now, used: now}
	s.mu.Lock()
	defer s.mu.Unlock()
	var own, oldest, oldestOwn = 0, (*session)(nil), (*session)(nil)
	older := func(a, b *session) bool { return b == nil || a.used.Before(b.used) }
	for key, k := range s.all {
		if k.over(now) {
			delete(s.all, key)
			continue
		}
		if older(k, oldest) {
			oldest = k
		}
		if k.user == who.name {
			if own++; older(k, oldestOwn) {
				oldestOwn = k
			}
		}
	}
	if own >= maxSessionsOf {
		delete(s.all, oldestOwn.key)
	} else if len(s.all) >= maxSessions {
		delete(s.all, oldest.key)
	}
	if s.all == nil {
		s.all = map[[sha256.Size]byte]*session{}
	}
	s.all[fresh.key] = fresh
	return token
}

func (k *session) over(now time.Time) bool {
	return now.Sub(k.used) > sessionIdle || now.Sub(k.begun) > sessionLife
}

// of is the session of a request, and who it is of; nil for none. Byhand says that a person asks, not the script.
func (s *sessions) of(r *http.Request, byhand bool) (*session, *visitor) {
	cookie, err := r.Cookie(cookieName(r))
	if err != nil {
		return nil, nil
	}
	k := s.find(cookie.Value, byhand)
	if k == nil {
		return nil, nil
	}
	password, err := seal(cookie.Value).Open(nil, nil, k.sealed, nil)
	if err != nil {
		return nil, nil // of no token that was ever given
	}
	return k, &visitor{k.user, string(password)}
}

// find is the session of a token.
func (s *sessions) find(token string, byhand bool) *session {
	key, now := sha256.Sum256([]byte(token)), time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.all[key]
	if k == nil {
		return nil
	}
	if k.over(now) {
		delete(s.all, key)
		return nil
	}
	if byhand {
		k.used = now
	}
	return k
}

// end forgets a session.
func (s *sessions) end(k *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, k.key)
}

// tell has the next page say what was done.
func (s *sessions) tell(k *session, done string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.done = done
}

// told is what there is to say, once.
func (s *sessions) told(k *session) string {
	if k == nil {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	done := k.done
	k.done = ""
	return done
}

type secureKey struct{}

func withSecure(ctx context.Context, secure bool) context.Context {
	return context.WithValue(ctx, secureKey{}, secure)
}

func isSecure(r *http.Request) bool { return r.Context().Value(secureKey{}) == true }

// cookieName is that of the token. Over TLS it is one that browsers take only over TLS and from this host.
func cookieName(r *http.Request) string {
	if isSecure(r) {
		return "__Host-leveret"
	}
	return "leveret"
}

func cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{Name: cookieName(r), Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: isSecure(r), SameSite: http.SameSiteStrictMode}
}

// loginPage is what the form to sign in shows.
type loginPage struct {
	To, Name, Wrong string
}

func (s *Server) loginForm(w http.ResponseWriter, r *http.Request) {
	if k, _ := s.sessions.of(r, true); k != nil {
		http.Redirect(w, r, local(r.FormValue("to")), http.StatusSeeOther)
		return
	}
	s.shell(w, r, http.StatusOK, "Sign in", "login", loginPage{To: r.FormValue("to")})
}

// maxLogin bounds the form to sign in, in bytes: anybody may send one.
const maxLogin = 16 << 10

func (s *Server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogin)
	if err := r.ParseForm(); err != nil {
		s.plain(w, r, http.StatusBadRequest, "The form can't be read", sentence(err))
		return
	}
	to, who := r.PostFormValue("to"), visitor{r.PostFormValue("name"), r.PostFormValue("password")}
	if status, err := s.opts.API.SignIn(w, r, who.name, who.password); err != nil {
		s.shell(w, r, status, "Sign in", "login", loginPage{To: to, Name: who.name, Wrong: sentence(err)})
		return
	}
	http.SetCookie(w, cookie(r, s.sessions.start(who), 0))
	http.Redirect(w, r, local(to), http.StatusSeeOther)
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) {
	if k, _ := s.sessions.of(r, true); k != nil {
		s.sessions.end(k)
	}
	http.SetCookie(w, cookie(r, "", -1))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// local is a place on this server to go to, and the first page for any other.
func local(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return "/"
	}
	return to
}
