package demo_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leveret-mq/leveret/examples/internal/demo"
	"github.com/leveret-mq/leveret/examples/internal/demotest"
)

func TestABrokerThatEndsAtOnceShowsItsOutput(t *testing.T) {
	_, err := demo.Start(context.Background(), demotest.Build(t), "sometimes")
	if err == nil || !strings.Contains(err.Error(), "--sync") {
		t.Errorf("error: %v", err)
	}
	if _, err := demo.Start(context.Background(), filepath.Join(t.TempDir(), "missing"), ""); err == nil {
		t.Error("a missing binary is no error")
	}
}
