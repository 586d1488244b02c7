package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/store"
)

func TestARefusedStartSaysWhatIsMissingAndWhatToDo(t *testing.T) {
	c := settings(t)
	s, err := start(t, c)
	if err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if err := os.Truncate(filepath.Join(c.DataDir, "defs", "entries"), 0); err != nil {
		t.Fatal(err)
	}
	_, err = start(t, c)
	if !errors.Is(err, store.ErrMissing) || !strings.Contains(err.Error(), "table defs") || !strings.Contains(err.Error(), "--recover") {
		t.Fatalf("started with %v", err)
	}
	c.Recover = true
	if _, err := start(t, c); err != nil {
		t.Fatalf("does not start to be recovered: %v", err)
	}
}
