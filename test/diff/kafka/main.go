// Command kafka holds conversations with a Kafka broker and prints them, one field of an answer a
// line, with the versions of the request that have it. See ../run, which compares them.
//
//	kafka [--settle TIME] HOST:PORT [NAME...]
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// atOnce is how many conversations are held side by side.
const atOnce = 6

// conversation is one of them.
type conversation struct {
	name string // letters, digits and dashes: its topics and groups begin with it
	hold func(*talk)
}

func main() {
	settle := flag.Duration("settle", 0, "how long the broker takes until all of it knows what was changed")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: kafka [--settle TIME] HOST:PORT [NAME...]") }
	flag.Parse()
	if flag.NArg() < 1 {
		flag.Usage()
		os.Exit(2)
	}
	chosen := slices.DeleteFunc(conversations(), func(c conversation) bool {
		return flag.NArg() > 1 && !slices.Contains(flag.Args()[1:], c.name)
	})
	if err := wake(flag.Arg(0), *settle); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
	said := make([]string, len(chosen))
	var all sync.WaitGroup
	turns := make(chan struct{}, atOnce)
	for i, c := range chosen {
		all.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			said[i] = held(c, flag.Arg(0), *settle)
		})
	}
	all.Wait()
	out := bufio.NewWriter(os.Stdout)
	for i, c := range chosen {
		fmt.Fprintf(out, "== %s\n%s", c.name, said[i])
	}
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "kafka:", err)
		os.Exit(1)
	}
}

// held is a conversation's text. One that a broker ends early has that for its end.
func held(c conversation, address string, settle time.Duration) (text string) {
	t := newTalk(c.name, address, settle)
	defer t.close()
	defer func() {
		if why := recover(); why != nil {
			lost, ok := why.(lost)
			if !ok {
				panic(why)
			}
			text = t.text() + fmt.Sprintf("!! %s\n", strings.ReplaceAll(lost.Error(), "\n", " "))
		}
	}()
	c.hold(t)
	return t.text()
}
