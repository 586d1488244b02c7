package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
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

// Bind declares one flag for each setting.
func Bind(flags *pflag.FlagSet) { new(Config).bind(flags) }

func (c *Config) bind(flags *pflag.FlagSet) {
	for _, s := range settings(c) {
		switch p := s.pointer.(type) {
		case *string:
			flags.StringVar(p, s.Flag, s.Default, s.help())
		case *bool:
			flags.BoolVar(p, s.Flag, s.Default == "true", s.help())
		case *int:
			flags.Var((*number)(p), s.Flag, s.help())
		case *time.Duration:
			flags.Var((*span)(p), s.Flag, s.help())
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

// Load reads the settings anew: the defaults, then a file, the environment (in the
// form of os.Environ) and the flags that were given, each over those before it. Flags
// must have been declared with Bind, and parsed. The result is not validated.
func Load(flags *pflag.FlagSet, environ []string) (*Config, error) {
	c := new(Config)
	l := newLoader(c)
	env, err := environment(environ)
	if err != nil {
		return nil, err
	}
	name := flags.Lookup(fileFlag).Value.String()
	if v, ok := env[fileFlag]; ok && !flags.Changed(fileFlag) {
		name = v.text
	}
	if err := l.file(name); err != nil {
		return nil, err
	}
	others, err := aliases(environ)
	if err != nil {
		return nil, err
	}
	for _, s := range settings(c) {
		if err := l.variable(others, s.Flag, FromAlias); err != nil {
			return nil, err
		}
		if err := l.variable(env, s.Flag, FromEnv); err != nil {
			return nil, err
		}
		if flags.Changed(s.Flag) {
			if err := l.set(s.Flag, flags.Lookup(s.Flag).Value.String(), Origin{Rank: FromFlag, Name: s.Flag}); err != nil {
				return nil, fmt.Errorf("--%s: %w", s.Flag, err)
			}
		}
	}
	return c, c.readPassword()
}

// fileFlag is the flag that names the file.
const fileFlag = "config"

// loader fills a configuration.
type loader struct {
	c      *Config
	values *pflag.FlagSet // over the fields of c
}

func newLoader(c *Config) loader {
	c.origins = map[string]Origin{}
	l := loader{c, pflag.NewFlagSet("", pflag.ContinueOnError)}
	c.bind(l.values)
	return l
}

func (l loader) set(flag, text string, from Origin) error {
	if err := l.values.Lookup(flag).Value.Set(text); err != nil {
		return err
	}
	l.c.origins[flag] = from
	return nil
}

// variable takes a setting from the environment, if it is there.
func (l loader) variable(found map[string]variable, flag string, rank Rank) error {
	v, ok := found[flag]
	if !ok {
		return nil
	}
	if err := l.set(flag, v.text, Origin{Rank: rank, Name: v.name}); err != nil {
		return fmt.Errorf("environment variable %s: %w", v.name, err)
	}
	return nil
}

// file takes settings from the file of that name, or the usual one.
func (l loader) file(named string) error {
	name, err := find(named)
	if err != nil || name == "" {
		return err
	}
	text, readable, err := readFile(name)
	if err != nil {
		return fmt.Errorf("file of settings: %w", err)
	}
	found, err := parseFile(name, text)
	if err != nil {
		return err
	}
	l.c.fileRead = name
	return l.take(name, found, readable)
}

// take takes the settings of a file.
func (l loader) take(name string, found map[string]entry, readable bool) error {
	var wrong []error
	for _, s := range settings(l.c) {
		e, ok := found[s.Flag]
		if !ok {
			continue
		}
		text, err := e.text(s)
		if err == nil {
			err = l.set(s.Flag, text, Origin{Rank: FromFile, Name: name, Line: e.line})
		}
		if err != nil {
			wrong = append(wrong, e.errorf(name, "%s: %v", s.Flag, err))
		}
		if s.Secret && readable {
			l.c.warnings = append(l.c.warnings, fmt.Sprintf("%s:%d: %s stands in a file that everybody on this machine can read; take that from them with chmod o-r, or keep it in a file of its own", name, e.line, s.Flag))
		}
	}
	sortByLine(wrong)
	return joinAll(wrong)
}

// variable is a setting that stands in the environment.
type variable struct{ name, text string }

// environment is what it says, by flag.
func environment(environ []string) (map[string]variable, error) {
	known := map[string]string{} // variable → flag
	for _, s := range settings(new(Config)) {
		known[s.Env()] = s.Flag
	}
	found := map[string]variable{}
	for _, line := range environ {
		name, value, _ := strings.Cut(line, "=")
		if !strings.HasPrefix(name, EnvPrefix) || orchestrated.MatchString(name) {
			continue
		}
		if slices.Contains(ofClients, name) {
			continue
		}
		flag, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("environment variable %s is not a setting; %sdocs/configuration.md lists them all", name, meant(name, known))
		}
		found[flag] = variable{name, value}
	}
	return found, nil
}

// ofClients are what the command line reads of the environment to find a broker (package cli): one environment may be for both.
var ofClients = []string{EnvPrefix + "HTTP", EnvPrefix + "USER", EnvPrefix + "PASSWORD", EnvPrefix + "VHOST", EnvPrefix + "CA"}

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
	// List says that several values stand in it with commas.
	List bool
	// NoFile says that it can't stand in a file.
	NoFile bool
	// Live says that it takes hold without a restart.
	Live bool

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
		if tag.Get("flag") == "" {
			continue // what is known of the settings
		}
		list = append(list, Setting{
			Flag: tag.Get("flag"), Default: tag.Get("default"), Usage: tag.Get("usage"),
			Group: tag.Get("group"), Secret: tag.Get("secret") == "true",
			List: tag.Get("list") == "true", NoFile: tag.Get("nofile") == "true",
			Live:    tag.Get("live") == "true",
			pointer: v.Field(i).Addr().Interface(),
		})
	}
	return list
}

// meant asks whether the known name that is like this one was meant, if there is one.
func meant(name string, known map[string]string) string {
	if like := nearest(name, known); editDistance(name, like) <= max(2, len(name)/2) {
		return "did you mean " + like + "? "
	}
	return ""
}

// nearest returns the known name that differs least from name.
func nearest(name string, known map[string]string) string {
	names := make([]string, 0, len(known))
	for k := range known {
		names = append(names, k)
	}
	sort.Strings(names)
	best, least := "", 1<<30
	for _, k := range names {
		d := 2 * editDistance(name, k)
		if len(k) != len(name) {
			d++ // letters that changed places leave the length as it was
		}
		if d < least {
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
