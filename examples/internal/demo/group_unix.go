//go:build unix

package demo

import "syscall"

// OwnGroup has a process started in a process group of its own.
func OwnGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
