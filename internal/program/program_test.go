package program

import (
	"os"
	"path/filepath"
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
