package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// Administrators make, change and delete virtual hosts, users and permissions over HTTP, each in names of its own, one request
// after the other. What was answered holds after a kill; of the one request that was not, all of it or nothing does. What is deleted is
// gone with all in it: permissions, and the queue of a virtual host, of which one of the same name that comes later has nothing.
const (
	administrators = 3
	adminNames     = 3 // of virtual hosts, and of users, for each
)

// adminHash is a hash of RabbitMQ's of the password "crash", which is quick to take.
const adminHash = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"

// fact is something that is there, with what is said of it, or "" that it is not.
type fact struct {
	now   string
	doubt bool // next may hold as well
	next  string
}

func (f *fact) ask(next string) { f.doubt, f.next = true, next }
func (f *fact) answered()       { f.now, f.doubt, f.next = f.next, false, "" }

// settle takes over what is seen after a start.
func (f *fact) settle(seen, what string) error {
	if seen != f.now && !(f.doubt && seen == f.next) {
		return fmt.Errorf("%s is %q, was acknowledged as %q (asked for when it died: %v, %q)", what, seen, f.now, f.doubt, f.next)
	}
	*f = fact{now: seen}
	return nil
}

// administrator is one of them, and what it knows.
type administrator struct {
	id      int
	vhosts  [adminNames]fact
	queues  [adminNames]fact // what is in the one queue of each
	users   [adminNames]fact
	permits [adminNames][adminNames]fact // of a user in a virtual host
	serial  int
}

// adminModel is what must hold of all of them. It is used by the load, and by the harness between lives.
type adminModel struct {
	list [administrators]*administrator

	mu                sync.Mutex // guards the rest
	made, gone, asked int
	wrong             error
}

func newAdminModel() *adminModel {
	m := &adminModel{}
	for i := range m.list {
		m.list[i] = &administrator{id: i}
	}
	return m
}

func (m *adminModel) summary() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprintf("%d acts of administrators, %d virtual hosts made and %d deleted", m.asked, m.made, m.gone)
}

func (m *adminModel) violation() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.wrong
}

func (a *administrator) name(n int) string { return fmt.Sprintf("crash/%d.%d", a.id, n) }

func (a *administrator) next() string {
	a.serial++
	return fmt.Sprintf("g%d", a.serial)
}

// api asks a broker as guest.
type api struct {
	at     string
	client *http.Client
}

func newAPI(at string) *api {
	return &api{at, &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{}}}
}

// errStatus is an answer that says no.
type errStatus struct {
	status int
	text   string
}

func (e *errStatus) Error() string { return fmt.Sprintf("%d %s", e.status, e.text) }

// do sends a request; into is nil where the answer has nothing to say.
func (a *api) do(ctx context.Context, method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+a.at+"/api/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	req.SetBasicAuth("guest", "guest")
	res, err := a.client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	text, err = io.ReadAll(res.Body)
	switch {
	case err != nil:
		return err
	case res.StatusCode >= 300:
		return &errStatus{res.StatusCode, string(text)}
	case into == nil:
		return nil
	}
	return json.Unmarshal(text, into)
}

// startLoad lets the administrators work until the broker dies.
func (m *adminModel) startLoad(ctx context.Context, h *harness, l *load) {
	for _, a := range m.list {
		rng, api := h.fork(), newAPI(h.broker.HTTP)
		l.wg.Go(func() {
			defer api.client.CloseIdleConnections()
			for ctx.Err() == nil {
				err := m.act(ctx, a, api, h.broker.AMQP, rng)
				var no *errStatus
				if errors.As(err, &no) {
					m.mu.Lock()
					m.wrong = errors.Join(m.wrong, fmt.Errorf("administrator %d was refused: %w", a.id, err))
					m.mu.Unlock()
				}
				if err != nil {
					return // it is dead, or wrong
				}
			}
		})
	}
}

// act does one thing, and notes its answer.
func (m *adminModel) act(ctx context.Context, a *administrator, api *api, amqpAddr string, rng *rand.Rand) error {
	v, u := rng.IntN(adminNames), rng.IntN(adminNames)
	vhost, user := url.PathEscape(a.name(v)), url.PathEscape(a.name(u))
	one := func(f *fact, next, method, path string, body any) error {
		f.ask(next)
		err := api.do(ctx, method, path, body, nil)
		if err == nil {
			f.answered()
			m.mu.Lock()
			m.asked++
			m.mu.Unlock()
		}
		return err
	}
	there := a.vhosts[v].now != ""
	switch dice := rng.IntN(10); {
	case dice < 3 || !there && dice < 6:
		next := a.next()
		if err := one(&a.vhosts[v], next, "PUT", "vhosts/"+vhost, map[string]any{"description": next}); err != nil {
			return err
		}
		if !there {
			m.count(&m.made)
		}
	case dice == 3:
		for i := range a.permits[v] {
			a.permits[v][i].ask("")
		}
		a.queues[v].ask("")
		if err := one(&a.vhosts[v], "", "DELETE", "vhosts/"+vhost, nil); err != nil {
			return err
		}
		for i := range a.permits[v] {
			a.permits[v][i].answered()
		}
		a.queues[v].answered()
		m.count(&m.gone)
	case dice == 4 && a.queues[v].now == "":
		next := a.next()
		a.queues[v].ask(next)
		if err := fill(amqpAddr, a.name(v), next); err != nil {
			return err
		}
		a.queues[v].answered()
	case dice < 7 || a.users[u].now == "":
		next := a.next()
		return one(&a.users[u], next, "PUT", "users/"+user, map[string]any{"tags": []string{next}, "password_hash": adminHash})
	case dice == 7:
		for i := range a.permits {
			a.permits[i][u].ask("")
		}
		if err := one(&a.users[u], "", "DELETE", "users/"+user, nil); err != nil {
			return err
		}
		for i := range a.permits {
			a.permits[i][u].answered()
		}
	case there && dice == 8 && a.permits[v][u].now != "":
		return one(&a.permits[v][u], "", "DELETE", "permissions/"+vhost+"/"+user, nil)
	case there:
		next := a.next()
		return one(&a.permits[v][u], next, "PUT", "permissions/"+vhost+"/"+user, map[string]any{"configure": next, "write": "", "read": ""})
	}
	return nil
}

func (m *adminModel) count(n *int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*n++
}

// adminQueue is the queue of each virtual host.
const adminQueue = "q"

// inVHost opens a channel.
func inVHost(addr, vhost string) (*amqp.Connection, *amqp.Channel, error) {
	conn, err := amqp.DialConfig("amqp://guest:guest@"+addr+"/", amqp.Config{Vhost: vhost, Heartbeat: 10 * time.Second})
	if err != nil {
		return nil, nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		_ = conn.Close()
		return nil, nil, err
	}
	return conn, ch, nil
}

// fill makes the queue of a virtual host with one message in it.
func fill(addr, vhost, text string) error {
	conn, ch, err := inVHost(addr, vhost)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if _, err := ch.QueueDeclare(adminQueue, true, false, false, false, nil); err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	d, err := ch.PublishWithDeferredConfirm("", adminQueue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte(text)})
	if err != nil {
		return err
	}
	select {
	case <-d.Done():
		if !d.Acked() {
			return errors.New("a message was not confirmed")
		}
		return nil
	case <-time.After(20 * time.Second):
		return errors.New("a message was not confirmed in time")
	}
}

// inside reads what is in the queue of a virtual host, "" without one. A queue that is empty is one whose message was under way.
func inside(addr, vhost string) (string, error) {
	conn, ch, err := inVHost(addr, vhost)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	d, ok, err := ch.Get(adminQueue, false)
	var no *amqp.Error
	switch {
	case errors.As(err, &no) && no.Code == amqp.NotFound:
		return "", nil
	case err != nil || !ok:
		return "", err
	}
	return string(d.Body), nil // it goes back with the connection
}

// verify compares what there is after a start with what was answered.
func (m *adminModel) verify(ctx context.Context, httpAddr, amqpAddr string) error {
	var vhosts []struct{ Name, Description string }
	var users []struct {
		Name string
		Tags []string
	}
	var permissions []struct{ User, VHost, Configure string }
	api := newAPI(httpAddr)
	defer api.client.CloseIdleConnections()
	for path, into := range map[string]any{"vhosts": &vhosts, "users": &users, "permissions": &permissions} {
		if err := api.do(ctx, "GET", path, nil, into); err != nil {
			return fmt.Errorf("list %s: %w", path, err)
		}
	}
	seen := map[[3]string]string{}
	for _, v := range vhosts {
		seen[[3]string{"vhost", v.Name}] = v.Description
	}
	for _, u := range users {
		seen[[3]string{"user", u.Name}] = slices.Concat(u.Tags, []string{"?"})[0]
	}
	for _, p := range permissions {
		seen[[3]string{"permission", p.VHost, p.User}] = p.Configure
		if seen[[3]string{"user", p.User}] == "" || !slices.ContainsFunc(vhosts, func(v struct{ Name, Description string }) bool { return v.Name == p.VHost }) {
			return fmt.Errorf("there is a permission for user %q in virtual host %q, of which one is not there", p.User, p.VHost)
		}
	}
	for _, a := range m.list {
		for v := range adminNames {
			name := a.name(v)
			if err := a.vhosts[v].settle(seen[[3]string{"vhost", name}], "virtual host "+name); err != nil {
				return err
			}
			if err := a.users[v].settle(seen[[3]string{"user", name}], "user "+name); err != nil {
				return err
			}
			for u := range adminNames {
				if err := a.permits[v][u].settle(seen[[3]string{"permission", name, a.name(u)}], "permission of "+a.name(u)+" in "+name); err != nil {
					return err
				}
			}
			text := ""
			if a.vhosts[v].now != "" {
				var err error
				if text, err = m.look(ctx, api, amqpAddr, name); err != nil {
					return fmt.Errorf("look into virtual host %s: %w", name, err)
				}
			}
			if err := a.queues[v].settle(text, "what is in virtual host "+name); err != nil {
				return err
			}
		}
	}
	return nil
}

// look reads what is in a virtual host, for which guest may lack the permission: a kill came between the two writes of its making.
func (m *adminModel) look(ctx context.Context, api *api, amqpAddr, name string) (string, error) {
	all := map[string]any{"configure": ".*", "write": ".*", "read": ".*"}
	if err := api.do(ctx, "PUT", "permissions/"+url.PathEscape(name)+"/guest", all, nil); err != nil {
		return "", err
	}
	return inside(amqpAddr, name)
}
