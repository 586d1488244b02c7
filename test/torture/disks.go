package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// sh runs a system command; a failure says what to do.
func sh(hint, name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s (%s)", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)), hint)
	}
	return strings.TrimSpace(string(out)), nil
}

const mountHint = "run as root; the commands are in Debian's mount and e2fsprogs"

// full fills a small disk, kills the broker on it or not, reads, and publishes again.
func full(t *trial) (did string, err error) {
	disk := t.broker.DataDir
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return "", err
	}
	if _, err := sh(mountHint, "mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", disk); err != nil {
		return "", err
	}
	defer func() {
		t.broker.Kill()
		_, e := sh(mountHint, "umount", disk)
		err = errors.Join(err, e)
	}()
	if err := t.broker.Start(); err != nil {
		return "", err
	}
	const queue = "torture.full"
	confirmed, err := t.publishUntilRefused(queue, 0)
	did = fmt.Sprintf("refused after %d messages", len(confirmed))
	if err != nil {
		return did, err
	}
	if t.rng.IntN(2) == 0 {
		how, err := t.end()
		did += ", " + how + " while full"
		if err != nil {
			return did, err
		}
		if err := t.broker.Start(); err != nil {
			return did, fmt.Errorf("a start on a full disk: %w", err)
		}
	}
	if err := t.alive(); err != nil {
		return did, err
	}
	got, told, err := drain(t.broker.AMQP, queue)
	if err := errors.Join(err, told, covers(got, confirmed)); err != nil {
		return did, err
	}
	did += fmt.Sprintf(", %d read", len(got))
	deadline := time.Now().Add(20 * time.Second) // segments are freed when nobody reads them any more
	for {
		if err = fill(t.ctx, t.broker.AMQP, t.rng, []string{queue}, 1<<20, 20, 1000); err == nil || time.Now().After(deadline) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		return did, fmt.Errorf("publishing with room again: %w", err)
	}
	return did, t.broker.Stop(stopGrace)
}

// publishUntilRefused publishes until the broker says no, and returns the numbers of what was confirmed.
func (t *trial) publishUntilRefused(queue string, first int) ([]int, error) {
	c, ch, err := dial(t.broker.AMQP)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if err := errors.Join(declare(ch, queue), ch.Confirm(false)); err != nil {
		return nil, err
	}
	blocked := c.NotifyBlocked(make(chan amqp.Blocking, 8))
	var confirmed []int
	for n := first; n < first+4000; n++ {
		d, err := ch.PublishWithDeferredConfirmWithContext(t.ctx, "", queue, false, false,
			amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body(queue, n, filling(t.rng, 60<<10))})
		if err != nil {
			return confirmed, nil // the channel or the connection was closed: that is a no, too
		}
		for waiting := true; waiting; {
			select {
			case <-d.Done():
				waiting = false
			case b := <-blocked:
				if b.Active {
					return confirmed, nil
				}
			case <-time.After(20 * time.Second):
				return confirmed, fmt.Errorf("message %d was neither confirmed nor refused", n)
			}
		}
		if !d.Acked() {
			return confirmed, nil
		}
		confirmed = append(confirmed, n)
	}
	return confirmed, errors.New("a disk of 40 MB took 120 MB")
}

// covers fails unless all that was confirmed was read.
func covers(got, confirmed []int) error {
	have := map[int]bool{}
	for _, n := range got {
		have[n] = true
	}
	for _, n := range confirmed {
		if !have[n] {
			return fmt.Errorf("message %d was confirmed and is lost (%d confirmed, %d read)", n, len(confirmed), len(got))
		}
	}
	return nil
}

// device cuts a block device under the broker's files. Messages on the missing part are
// lost with it; the process lives, says so, and takes connections, and it ends when told.
func device(t *trial) (did string, err error) {
	image, disk := filepath.Join(t.dir, "image"), t.broker.DataDir
	if err := os.MkdirAll(disk, 0o755); err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(image, nil, 0o644), os.Truncate(image, 96<<20)); err != nil {
		return "", err
	}
	loop, err := sh(mountHint, "losetup", "-f", "--show", image)
	if err != nil {
		return "", err
	}
	defer func() {
		_, e := sh(mountHint, "losetup", "-d", loop)
		err = errors.Join(err, e)
	}()
	if _, err := sh(mountHint, "mkfs.ext4", "-q", "-O", "^has_journal", loop); err != nil {
		return "", err
	}
	if _, err := sh(mountHint, "mount", loop, disk); err != nil {
		return "", err
	}
	mounted := true
	defer func() {
		t.broker.Kill()
		if mounted {
			_, e := sh(mountHint, "umount", disk)
			err = errors.Join(err, e)
		}
	}()
	queues := []string{"torture.a", "torture.b", "torture.c"}
	if err := t.broker.Start("--segment-bytes", "1MiB"); err != nil {
		return "", err
	}
	if err := fill(t.ctx, t.broker.AMQP, t.rng, queues, 0, 300, 60<<10); err != nil {
		return "filling", err
	}
	// Mounted again, nothing of it is in memory.
	if err := t.broker.Stop(stopGrace); err != nil {
		return "", err
	}
	if _, err := sh(mountHint, "umount", disk); err != nil {
		return "", err
	}
	mounted = false
	if _, err := sh(mountHint, "mount", loop, disk); err != nil {
		return "", err
	}
	mounted = true
	if err := t.broker.Start("--segment-bytes", "1MiB"); err != nil {
		return "", err
	}
	cut := int64(8+t.rng.IntN(60)) << 20
	did = fmt.Sprintf("device cut at %d of 96 MiB", cut>>20)
	if err := os.Truncate(image, cut); err != nil {
		return did, err
	}
	read := 0
	for _, q := range queues {
		got, told, err := drain(t.broker.AMQP, q)
		read += len(got)
		if told != nil {
			did += fmt.Sprintf(", %s says %v", q, told)
		}
		if err := t.alive(); err != nil {
			return did, err
		}
		if err != nil {
			return did, err
		}
	}
	did += fmt.Sprintf(", %d of %d read", read, 3*300)
	if read < 3*300 && !strings.Contains(t.broker.Log(), "level=ERROR") {
		return did, errors.New("messages can't be read, and the log has no ERROR")
	}
	return did, t.broker.Stop(stopGrace)
}
