package config

import (
	"fmt"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Default returns the configuration of a broker that was told nothing.
func Default() *Config {
	c := new(Config)
	c.bind(pflag.NewFlagSet("", pflag.ContinueOnError))
	return c
}

// Bind declares one flag for each setting and returns the configuration that
// they fill, with the defaults in it.
func Bind(flags *pflag.FlagSet) *Config {
	c := new(Config)
	c.bind(flags)
	return c
}

func (c *Config) bind(flags *pflag.FlagSet) {
	for _, s := range settings(c) {
		switch p := s.pointer.(type) {
		case *string:
			flags.StringVar(p, s.Flag, s.Default, s.help())
		case *bool:
			flags.BoolVar(p, s.Flag, s.Default == "true", s.help())
		case *int:
			flags.IntVar(p, s.Flag, 0, s.help())
		case *time.Duration:
			flags.DurationVar(p, s.Flag, 0, s.help())
		case *Size:
			flags.Var(p, s.Flag, s.help())
		case *Watermark:
			flags.Var(p, s.Flag, s.help())
		default:
			panic(fmt.Sprintf("config: setting %s has a type that no flag takes: %T", s.Flag, p))
		}
		f := flags.Lookup(s.Flag)
		if err := f.Value.Set(s.Default); err != nil {
			panic(fmt.Sprintf("config: default of %s: %v", s.Flag, err))
		}
		f.DefValue = s.Default
	}
}

// ApplyEnv takes settings from the environment, in the form of os.Environ, for
// flags that were not given. Flags must have been parsed.
func ApplyEnv(flags *pflag.FlagSet, environ []string) error {
	known := map[string]string{} // variable → flag
	for _, s := range settings(new(Config)) {
		known[s.Env()] = s.Flag
	}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, EnvPrefix) || orchestrated.MatchString(name) {
			continue
		}
		flag, ok := known[name]
		if !ok {
			return fmt.Errorf("environment variable %s is not a setting; did you mean %s? docs/configuration.md lists them all", name, nearest(name, known))
		}
		if flags.Changed(flag) {
			continue
		}
		// Set through the value, not the set: an environment variable must not count as a flag that was given.
		if err := flags.Lookup(flag).Value.Set(value); err != nil {
			return fmt.Errorf("environment variable %s: %w", name, err)
		}
	}
	return nil
}

// orchestrated matches the variables that Kubernetes puts into every container
// beside a service that is called leveret; they are not ours.
var orchestrated = regexp.MustCompile(`^LEVERET_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)$`)

// Setting is one field of Config as a person sees it.
type Setting struct {
	// Flag is the name without dashes.
	Flag string
	// Default is what holds when nothing is given.
	Default string
	// Usage is one sentence without a full stop.
	Usage string
	// Group is the heading it stands under.
	Group string
	// Secret says that the value must not be printed.
	Secret bool

	pointer any // to the field
}

// Env is the name of the environment variable.
func (s Setting) Env() string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(s.Flag, "-", "_"))
}

func (s Setting) help() string { return s.Usage + " [" + s.Env() + "]" }

// settings lists every setting in the order of the struct.
func settings(c *Config) []Setting {
	v := reflect.ValueOf(c).Elem()
	list := make([]Setting, 0, v.NumField())
	for i := range v.NumField() {
		tag := v.Type().Field(i).Tag
		list = append(list, Setting{
			Flag: tag.Get("flag"), Default: tag.Get("default"), Usage: tag.Get("usage"),
			Group: tag.Get("group"), Secret: tag.Get("secret") == "true",
			pointer: v.Field(i).Addr().Interface(),
		})
	}
	return list
}

// nearest returns the known variable that differs least from name.
func nearest(name string, known map[string]string) string {
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, k)
	}
	sort.Strings(names)
	best, least := "", 1<<30
	for _, k := range names {
		if d := editDistance(name, k); d < least {
			best, least = k, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions and replacements between a and b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
