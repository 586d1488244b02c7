package auth

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/xdg-go/scram"
)

// MaxScramBytes bounds a message of a SCRAM client: names, nonces and attributes.
const MaxScramBytes = 8 << 10

// Exchange is one SCRAM login. It is used by one goroutine.
//
//	client                                            Exchange
//	  ──── n,,n=user,r=nonce ─────────────────────►   Step 1: salt and iterations, a decoy's
//	  ◄─── r=nonce+ours,s=salt,i=iterations ───────           for who has none; costs nothing
//	  ──── c=…,r=nonce+ours,p=proof ──────────────►   Step 2: the guard, then the proof
//	  ◄─── v=signature ────────────────────────────           or the refusal, late
type Exchange struct {
	users     *Users
	mechanism Mechanism
	named     func(string) string
	talk      *scram.ServerConversation
	said      string // the client's first message
	answered  string // and what it was answered
	name      string
	shown     *Credential // what the client was shown
	decoy     bool        // nobody has it
	steps     int
}

// Scram begins a login. named turns the name that a client sends into a user's; nil takes
// it as it is.
func (u *Users) Scram(m Mechanism, named func(string) string) (*Exchange, error) {
	generator := generators[m]
	if generator == nil {
		return nil, fmt.Errorf("SASL mechanism %q is not one of %q", m, Mechanisms)
	}
	x := &Exchange{users: u, mechanism: m, named: named}
	server, err := generator.NewServer(x.lookUp)
	if err != nil {
		return nil, err
	}
	x.talk = server.NewConversation()
	return x, nil
}

// lookUp tells the conversation what to show.
func (x *Exchange) lookUp(name string) (scram.StoredCredentials, error) {
	if name == "" {
		return scram.StoredCredentials{}, errors.New("an empty user")
	}
	x.name = name
	if x.named != nil {
		x.name = x.named(name)
	}
	c, decoy := (*x.users.current.Load())[x.name].credential(x.mechanism), x.users.decoyCredential(x.mechanism, x.name)
	if x.decoy = c == nil; x.decoy {
		c = decoy
	}
	x.shown = c
	return scram.StoredCredentials{
		KeyFactors: scram.KeyFactors{Salt: string(c.Salt), Iters: c.Iterations}, StoredKey: c.StoredKey, ServerKey: c.ServerKey,
	}, nil
}

// credential is that of a user for a mechanism; nil for nobody, who may call it.
func (e *entry) credential(m Mechanism) *Credential {
	if e == nil {
		return nil
	}
	return e.find(m)
}

// Name is the user whom the client named, once it has.
func (x *Exchange) Name() string { return x.name }

// Step takes a message of the client at the address from and returns what to answer. When
// who is not nil the client is in, and hears the answer. The errors are those of Users.Login,
// and end the exchange.
func (x *Exchange) Step(ctx context.Context, message []byte, from net.Addr) (answer []byte, who *Identity, err error) {
	if len(message) > MaxScramBytes {
		x.steps = 2
		return nil, nil, fmt.Errorf("message of %d bytes in a SCRAM login is longer than %d: %w", len(message), MaxScramBytes, ErrRefused)
	}
	x.steps++
	switch x.steps {
	case 1:
		answer, err = x.first(ctx, message)
		if err != nil {
			x.steps = 2
		}
		return answer, nil, err
	case 2:
		return x.final(ctx, message, from)
	}
	return nil, nil, fmt.Errorf("the SCRAM login is over: %w", ErrRefused)
}

func (x *Exchange) first(ctx context.Context, message []byte) ([]byte, error) {
	if err := x.users.Awaited(ctx); err != nil {
		return nil, err
	}
	answer, err := x.talk.Step(string(message))
	switch {
	case err != nil: // not to be repeated: it quotes the client
		return nil, fmt.Errorf("the first message of a SCRAM login is malformed, or asks for channel binding: %w", ErrRefused)
	case x.talk.AuthzID() != "" && x.talk.AuthzID() != x.talk.Username():
		return nil, loginOf(x.name, "asks to act for another user: %w", ErrRefused)
	}
	x.said, x.answered = string(message), answer
	return []byte(answer), nil
}

func (x *Exchange) final(ctx context.Context, message []byte, from net.Addr) ([]byte, *Identity, error) {
	u := x.users
	a := u.guard.begin(sourceOf(from), x.name)
	defer u.guard.end(a)
	if a.care == turnedAway {
		return nil, nil, loginOf(x.name, "too many logins from there wait: %w", ErrBusy)
	}
	begun := time.Now()
	answer, err := x.talk.Step(string(message))
	if err != nil {
		answer, err = x.repeated(string(message))
	}
	e := (*u.current.Load())[x.name]
	if err = x.judge(e, err, from); err != nil {
		return nil, nil, u.refuse(ctx, a, x.name, err, begun)
	}
	u.guard.succeeded(a)
	who := e.identity()
	return []byte(answer), &who, nil
}

// judge says why a login is refused whose proof was looked at. wrong is what was wrong with
// that, which the client's words are in.
func (x *Exchange) judge(e *entry, wrong error, from net.Addr) error {
	switch have := e.credential(x.mechanism); {
	case e == nil:
		return fmt.Errorf("no such user: %w", ErrRefused)
	case have == nil:
		return fmt.Errorf("there are no keys for %s of the user, whose password is known as a hash only: log in with PLAIN once, or set the password anew: %w", x.mechanism, ErrRefused)
	case e.allowedFrom(from) != nil:
		return e.allowedFrom(from)
	case x.decoy, !slices.Equal(have.StoredKey, x.shown.StoredKey):
		return fmt.Errorf("the password was changed during the login: %w", ErrRefused)
	case wrong != nil:
		return fmt.Errorf("wrong password: %w", ErrRefused)
	}
	return nil
}
