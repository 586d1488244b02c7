//go:build unix

package main

import (
	"os"
	"syscall"
)

// canFreeze tells that a process can be stopped and go on later.
const canFreeze = true

// The processes are leaders of groups: the ffmpeg of a worker shares its fate.
func killGroup(p *os.Process) { _ = syscall.Kill(-p.Pid, syscall.SIGKILL) }

func (c *Crew) freeze(name string) {
	_ = syscall.Kill(-c.member(name).cmd.Process.Pid, syscall.SIGSTOP)
}
func (c *Crew) thaw(name string) { _ = syscall.Kill(-c.member(name).cmd.Process.Pid, syscall.SIGCONT) }
