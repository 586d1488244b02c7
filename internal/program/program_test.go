package program

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestTheVersionOfTheBuildComesFirst(t *testing.T) {
	if got := Version("v1.2.3"); got != "v1.2.3" {
		t.Errorf("version %q", got)
	}
	if got := Version(""); got == "" {
		t.Error("a build without a version has no name")
	}
}

func TestAnotherProgramIsFoundOnThePath(t *testing.T) {
	const name = "leveret-program-of-a-test"
	t.Setenv("PATH", t.TempDir())
	if _, err := Find(name); err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("a program that is not there: %v; want how to build it", err)
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	want := filepath.Join(dir, name)
	if err := os.WriteFile(want, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := Find(name); err != nil || got != want {
		t.Errorf("found %q, %v; want %q", got, err, want)
	}
}

func TestFreeAddressesDifferAndNoConnectionTakesThem(t *testing.T) {
	addrs, err := FreeAddresses(50)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(addrs)
	if len(addrs) != 50 || len(slices.Compact(addrs)) != 50 {
		t.Fatalf("%d addresses; want 50 different ones", len(addrs))
	}
	for _, addr := range addrs {
		_, port, _ := strings.Cut(addr, ":")
		if n, err := strconv.Atoi(port); err != nil || n >= 32768 {
			t.Errorf("%s can be taken by a connection that somebody opens", addr)
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
	}
	more, err := FreeAddresses(50)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range more {
		if slices.Contains(addrs, addr) {
			t.Errorf("%s is in use", addr)
		}
	}
}
