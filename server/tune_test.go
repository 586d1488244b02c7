package server

import (
	"errors"
	"testing"
)

func TestContainerLimit(t *testing.T) {
	v2, v1 := "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"none":        {nil, 0},
		"v2":          {map[string]string{v2: "536870912\n"}, 512 << 20},
		"v2 no limit": {map[string]string{v2: "max\n"}, 0},
		"v1":          {map[string]string{v1: "1073741824\n"}, 1 << 30},
		"v1 no limit": {map[string]string{v1: "9223372036854771712\n"}, 0},
	} {
		got := containerLimit(func(name string) ([]byte, error) {
			if text, ok := c.files[name]; ok {
				return []byte(text), nil
			}
			return nil, errors.New("not there")
		})
		if got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

func TestRequestDisk(t *testing.T) {
	for _, c := range []struct {
		set  int64
		disk uint64
		want int64
	}{
		{0, 40 << 30, 10 << 30},
		{0, 4 << 40, 16 << 30},
		{0, 0, 1 << 30}, // a file system that does not say
		{1 << 20, 40 << 30, 1 << 20},
	} {
		if got := requestDisk(c.set, c.disk); got != c.want {
			t.Errorf("set to %d on a disk of %d bytes: %d, want %d", c.set, c.disk, got, c.want)
		}
	}
}

func TestRequestMemory(t *testing.T) {
	for _, c := range []struct{ set, memory, want int64 }{
		{0, 8 << 30, 2 << 30},
		{0, 0, 64 << 20},
		{0, 128 << 20, 64 << 20},
		{0, 1 << 40, 4 << 30},
		{30 << 20, 8 << 30, 30 << 20},
	} {
		if got := requestMemory(c.set, c.memory); got != c.want {
			t.Errorf("set to %d with %d bytes of memory: %d, want %d", c.set, c.memory, got, c.want)
		}
	}
	if memoryBytes() <= 0 {
		t.Error("this machine's memory can't be told")
	}
}
