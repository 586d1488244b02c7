// Package demotest compiles the real broker for the tests of the examples, which
// then talk to it as any client does.
package demotest

import (
	"context"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/leveret-mq/leveret/examples/internal/demo"
)

// Build compiles the broker and returns the program's path.
func Build(t testing.TB) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "leveret")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/leveret-mq/leveret/cmd/leveret").CombinedOutput(); err != nil {
		t.Fatalf("build the broker: %v\n%s", err, out)
	}
	return binary
}

// Start starts a broker that ends with the test, and a context for what is done with it.
func Start(t testing.TB) (context.Context, *demo.Broker) {
	t.Helper()
	broker := Build(t) // which takes its time where nothing is compiled yet
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	t.Cleanup(cancel)
	b, err := demo.Start(ctx, broker, "os")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Stop)
	return ctx, b
}
