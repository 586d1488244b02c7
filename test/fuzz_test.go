// Package test holds the suites that are not Go tests of one package, and tests of
// their scripts.
package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const (
	passed = "echo PASS\necho 'ok  \tpackage\t3.0s'\nexit 0\n"
	timer  = `echo 'fuzz: elapsed: 4s, execs: 68943 (0/sec), new interesting: 16 (total: 178)'
echo '--- FAIL: FuzzOne (4.05s)'
echo '    context deadline exceeded'
echo FAIL
echo 'exit status 1'
exit 1
`
	crasher = `echo '--- FAIL: FuzzOne (0.05s)'
echo '    --- FAIL: FuzzOne (0.00s)'
echo '        one_test.go:9: wrong'
echo '    Failing input written to testdata/fuzz/FuzzOne/1'
echo FAIL
exit 1
`
	seed = `echo '--- FAIL: FuzzOne (0.05s)'
echo '    --- FAIL: FuzzOne/seed#0 (0.00s)'
echo '        one_test.go:9: context deadline exceeded'
echo FAIL
exit 1
`
	hang = `echo '--- FAIL: FuzzOne (10.05s)'
echo '    fuzzing process hung or terminated unexpectedly: exit status 2'
echo '    Failing input written to testdata/fuzz/FuzzOne/2'
echo FAIL
exit 1
`
	both = `echo '--- FAIL: FuzzOne (4.05s)'
echo '    context deadline exceeded'
echo '    Failing input written to testdata/fuzz/FuzzOne/3'
echo FAIL
exit 1
`
	// The time was over while an input was being made smaller: its file is there, but no
	// line that says so.
	cutOff = "echo 'fuzz: minimizing 32-byte failing input file'\n" + timer
	// A seed is the only thing that fails, and its panic reads like the timer.
	seedPanic = "echo 'failure while testing seed corpus entry: FuzzOne/seed#0'\n" + timer
	// What go test -c does, as the script calls it.
	builds  = "cp \"${0%go}\"/one.test \"$5\"\n"
	nobuild = "echo './one_test.go:3: undefined: x' >&2\nexit 1\n"
)

func TestOnlyTheFuzzersOwnTimerIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		runs []string // what each run of the test does
		used int
		ok   bool
	}{
		"passes":                          {[]string{passed}, 1, true},
		"the timer, then passes":          {[]string{timer, passed}, 2, true},
		"the timer twice, then passes":    {[]string{timer, timer, passed}, 3, true},
		"the timer each time":             {[]string{timer, timer, timer, passed}, 3, false},
		"the timer, then an input":        {[]string{timer, crasher, passed}, 2, false},
		"an input":                        {[]string{crasher, passed}, 1, false},
		"a seed that waits in vain":       {[]string{seed, passed}, 1, false},
		"a process that hangs":            {[]string{hang, passed}, 1, false},
		"the timer and an input":          {[]string{both, passed}, 1, false},
		"an input not yet made small":     {[]string{cutOff, passed}, 1, false},
		"a seed whose error is like it":   {[]string{seedPanic, passed}, 1, false},
		"a test that does not even build": {nil, 0, false},
		"a target that is not there":      {[]string{"echo 'testing: warning: no fuzz tests to fuzz'\n" + passed}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			script, err := os.ReadFile("fuzz")
			if err != nil {
				t.Fatal(err)
			}
			write := func(name, content string) {
				t.Helper()
				path := filepath.Join(dir, name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			write("test/fuzz", string(script))
			write("one/one_test.go", "package one\n\nfunc FuzzOne(f *testing.F) {}\n")
			build := builds
			if c.runs == nil {
				build = nobuild
			}
			write("go", "#!/usr/bin/env bash\ncase $1 in\nenv) echo "+dir+"/cache ;;\nlist) echo one ;;\ntest) "+build+" ;;\nesac\n")
			write("one.test", "#!/usr/bin/env bash\necho >>"+dir+"/runs\n. "+dir+"/run$(wc -l <"+dir+"/runs)\n")
			for i, run := range c.runs {
				write("run"+string(rune('1'+i)), run)
			}
			cmd := exec.Command("bash", filepath.Join(dir, "test/fuzz"))
			cmd.Env = append(os.Environ(), "GO="+dir+"/go", "FUZZTIME=1s")
			out, err := cmd.CombinedOutput()
			if (err == nil) != c.ok {
				t.Errorf("%v:\n%s", err, out)
			}
			runs, _ := os.ReadFile(filepath.Join(dir, "runs"))
			if n := strings.Count(string(runs), "\n"); n != c.used {
				t.Errorf("%d runs, %d wanted:\n%s", n, c.used, out)
			}
		})
	}
}
