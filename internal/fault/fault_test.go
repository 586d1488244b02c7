package fault_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/leveret-mq/leveret/internal/fault"
	"github.com/leveret-mq/leveret/internal/fs"
)

// cut is a mapping of three pages of which only the first can still be touched.
func cut(t *testing.T) []byte {
	t.Helper()
	file, err := fs.Real().Open(filepath.Join(t.TempDir(), "f"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Truncate(3 * fs.PageBytes); err != nil {
		t.Fatal(err)
	}
	m, err := file.Map(3 * fs.PageBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = m.Close(), file.Close() })
	if err := file.Truncate(fs.PageBytes); err != nil {
		t.Fatal(err)
	}
	return m.Bytes()
}

func TestGuardTurnsAFaultIntoAnError(t *testing.T) {
	b := cut(t)
	if err := fault.Guard(func() error { b[2*fs.PageBytes] = 1; return nil }); !errors.Is(err, fault.Err) {
		t.Errorf("a store behind the end: %v", err)
	}
	if err := fault.Guard(func() error { return syscall.EIO }); !errors.Is(err, syscall.EIO) {
		t.Errorf("an error: %v", err)
	}
}

func TestInTakesFaultsOfItsBytesOnly(t *testing.T) {
	b := cut(t)
	for _, c := range []struct {
		name    string
		data    []byte
		fn      func([]byte) error
		faulted bool
		err     error
	}{
		{"nothing happens", b, func(data []byte) error { _ = data[7]; return nil }, false, nil},
		{"an error", b, func([]byte) error { return syscall.EIO }, false, syscall.EIO},
		{"a load behind the end", b, func(data []byte) error { fault.Touch(data); return nil }, true, fault.Err},
		{"a copy over the end", b[100:], func(data []byte) error { copy(make([]byte, len(data)), data); return nil }, true, fault.Err},
		{"the last byte", b[len(b)-1:], func(data []byte) error { fault.Touch(data); return nil }, true, fault.Err},
	} {
		faulted, err := fault.In(c.data, c.fn)
		if faulted != c.faulted || !errors.Is(err, c.err) {
			t.Errorf("%s: %t, %v", c.name, faulted, err)
		}
	}
}

func TestOtherPanicsPass(t *testing.T) {
	b := cut(t)
	var nothing *int
	for name, fn := range map[string]func(){
		"ours":                func() { panic("ours") },
		"a nil pointer":       func() { _ = *nothing },
		"a fault beside data": func() { fault.Touch(b[2*fs.PageBytes:]) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("it was swallowed")
				}
			}()
			_, _ = fault.In(b[:fs.PageBytes], func([]byte) error { fn(); return nil })
		})
	}
}

func TestAGuardTakesNoMemory(t *testing.T) {
	data := make([]byte, 100)
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		_, _ = fault.In(data, func(data []byte) error { n += len(data); return nil })
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkIn(b *testing.B) {
	data := make([]byte, 100)
	n := 0
	for b.Loop() {
		_, _ = fault.In(data, func(data []byte) error { n += len(data); return nil })
	}
}
