package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Crew are the workers' processes.
type Crew struct {
	broker    *demo.Broker
	ffmpeg    ffmpeg
	heartbeat time.Duration

	mu      sync.Mutex // guards the rest
	members map[string]*member
	hired   int
}

// member is one process and, in its group, the ffmpeg that it runs.
type member struct {
	name   string
	cmd    *exec.Cmd
	output bytes.Buffer
	ended  chan struct{}
}

func newCrew(b *demo.Broker, f ffmpeg, heartbeat time.Duration) *Crew {
	return &Crew{broker: b, ffmpeg: f, heartbeat: heartbeat, members: map[string]*member{}}
}

// hire starts a worker, with further flags, and returns its name.
func (c *Crew) hire(flags ...string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hired++
	m := &member{name: fmt.Sprintf("worker-%d", c.hired), ended: make(chan struct{})}
	m.cmd = exec.Command(self, append([]string{"worker", "-name", m.name, "-amqp", c.broker.AMQP, "-ffmpeg", string(c.ffmpeg), "-heartbeat", c.heartbeat.String()}, flags...)...)
	m.cmd.Stderr = &m.output
	m.cmd.SysProcAttr = demo.OwnGroup()
	if err := m.cmd.Start(); err != nil {
		return "", fmt.Errorf("start %s: %w", m.name, err)
	}
	c.members[m.name] = m
	go func() {
		_ = m.cmd.Wait()
		close(m.ended)
	}()
	return m.name, nil
}

func (c *Crew) member(name string) *member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.members[name]
}

// kill ends a worker and its ffmpeg with no chance to say anything.
func (c *Crew) kill(name string) {
	if m := c.member(name); m != nil {
		killGroup(m.cmd.Process)
		<-m.ended
	}
}

// wait returns when a worker has ended by itself.
func (c *Crew) wait(ctx context.Context, name string) error {
	select {
	case <-c.member(name).ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close ends all and returns what they complained of.
func (c *Crew) close() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var said bytes.Buffer
	for _, m := range c.members {
		killGroup(m.cmd.Process)
		<-m.ended
		said.Write(m.output.Bytes())
	}
	return said.String()
}
