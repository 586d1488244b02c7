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
