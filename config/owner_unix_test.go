//go:build unix

package config

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestAFileThatNobodyNamedMustBeTheOwnersOwn(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("leveret.toml", []byte("kafka-partitions = 7\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod("leveret.toml", 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := load(nil, nil); err == nil || !strings.Contains(err.Error(), "can be written by everybody") || !strings.Contains(err.Error(), "--config") {
		t.Error(err)
	}
	if c, err := load([]string{"--config=leveret.toml"}, nil); err != nil || c.KafkaPartitions != 7 {
		t.Errorf("one that is named is refused: %v", err)
	}
	if c, err := load([]string{"--config=none"}, nil); err != nil || c.KafkaPartitions != 1 {
		t.Error(err)
	}
	me := uint32(os.Geteuid())
	for name, c := range map[string]struct {
		info owned
		want string
	}{
		"mine":                     {owned{0o644, me, me + 1}, ""},
		"root's":                   {owned{0o644, 0, me + 1}, ""},
		"another's":                {owned{0o600, me + 1, 0}, "belongs to another user"},
		"my group's":               {owned{0o664, me, me + 1}, "can be written by its group"},
		"root's, for a group":      {owned{0o620, 0, me + 1}, "can be written by its group"},
		"root's, for root's group": {owned{0o664, 0, 0}, ""},
	} {
		if err := trusted("leveret.toml", c.info); c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// owned is what is known of a file of somebody's.
type owned struct {
	mode     fs.FileMode
	uid, gid uint32
}

func (o owned) Name() string       { return "leveret.toml" }
func (o owned) Size() int64        { return 0 }
func (o owned) Mode() fs.FileMode  { return o.mode }
func (o owned) ModTime() time.Time { return time.Time{} }
func (o owned) IsDir() bool        { return false }
func (o owned) Sys() any           { return &syscall.Stat_t{Uid: o.uid, Gid: o.gid} }
