package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// damage spoils one file between two lives. What must hold:
//
//	every message that comes is whole, in order, and came once
//	a queue whose files were not touched has lost nothing
//	what is lost is told: an ERROR that counts the messages, at least as many
//	a start that is refused names --recover, and starts with it
func damage(t *trial) (string, error) {
	queues := []string{"torture.a", "torture.b", "torture.c"}
	flags := []string{"--segment-bytes", []string{"64KiB", "1MiB"}[t.rng.IntN(2)]}
	if err := t.broker.Start(flags...); err != nil {
		return "", err
	}
	n := 50 + t.rng.IntN(400)
	if err := fill(t.ctx, t.broker.AMQP, t.rng, queues, 0, n, 2000); err != nil {
		return "filling", err
	}
	how, err := t.end()
	if err != nil {
		return how, err
	}
	spoilt, err := t.spoil()
	if err != nil {
		return how, err
	}
	did := fmt.Sprintf("%s with %d messages in each queue, %s", how, n, spoilt)
	before := len(t.broker.Log())
	if err := t.broker.Start(flags...); err != nil {
		if said := t.broker.Log()[before:]; !strings.Contains(said, "--recover") {
			return did, fmt.Errorf("the start failed without a way out: %w", err)
		}
		did += ", started with --recover"
		t.broker.Kill()
		if err := t.broker.Start(append(flags, "--recover")...); err != nil {
			return did, err
		}
	}
	lost, hit := 0, 0
	for _, q := range queues {
		numbers, told, err := drain(t.broker.AMQP, q)
		if err != nil {
			return did, err
		}
		if told != nil {
			did += fmt.Sprintf(", %s says %v", q, told)
		}
		if missing := n - len(numbers); missing > 0 {
			lost += missing
			hit++
		}
	}
	if err := t.alive(); err != nil {
		return did, err
	}
	did += fmt.Sprintf(": %d lost", lost)
	told := countTold(t.broker.Log()[before:])
	switch {
	case hit > 1:
		return did, errors.New("one file was spoilt, and several queues lost messages")
	case lost > told:
		return did, fmt.Errorf("%d messages are lost, the log tells of %d", lost, told)
	}
	return did, fill(t.ctx, t.broker.AMQP, t.rng, queues, n, 10, 100)
}

var toldMessages = regexp.MustCompile(`\bmessages=(\d+)`)

// countTold adds up the messages that ERROR lines say are lost.
func countTold(log string) int {
	n := 0
	for line := range strings.Lines(log) {
		if m := toldMessages.FindStringSubmatch(line); m != nil && strings.Contains(line, "level=ERROR") {
			k, _ := strconv.Atoi(m[1])
			n += k
		}
	}
	return n
}

// spoilt are the directories of the data directory in which files are spoilt: the queues'
// half of the time, else one of the others.
var spoilt = []string{"queues", "queues", "queues", "defs", "groups", "checkpoint"}

// spoil does something to one file of one queue, or to one on which all of them hang.
func (t *trial) spoil() (string, error) {
	var files []string
	dir := filepath.Join(t.broker.DataDir, spoilt[t.rng.IntN(len(spoilt))])
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		return "", errors.Join(err, errors.New("there is no file to spoil"))
	}
	slices.Sort(files)
	file := files[t.rng.IntN(len(files))]
	short, _ := filepath.Rel(t.broker.DataDir, file)
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	used := len(strings.TrimRight(string(raw), "\x00"))
	at := t.rng.IntN(max(used, 1))
	switch kind := t.rng.IntN(5); {
	case kind == 0 && used > 0:
		raw[at] ^= byte(1 << t.rng.IntN(8))
		return fmt.Sprintf("bit flipped at %d of %s", at, short), os.WriteFile(file, raw, 0o644)
	case kind == 1:
		end := min(len(raw), at+1+t.rng.IntN(4096))
		clear(raw[at:end])
		return fmt.Sprintf("zeros from %d to %d of %s", at, end, short), os.WriteFile(file, raw, 0o644)
	case kind == 2:
		return fmt.Sprintf("%s cut at %d of %d bytes", short, at, len(raw)), os.Truncate(file, int64(at))
	case kind == 3:
		return short + " removed", os.Remove(file)
	default:
		end := min(len(raw), at+1+t.rng.IntN(512))
		for i := at; i < end; i++ {
			raw[i] = byte(t.rng.Uint32())
		}
		return fmt.Sprintf("noise from %d to %d of %s", at, end, short), os.WriteFile(file, raw, 0o644)
	}
}
