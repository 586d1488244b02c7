package devcert

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
)

// ForDomain is a certificate in dir for a domain and the services one level below it, as a listener for XMPP needs at its first
// start; made says that there was none. One that is there is left as it is, also when it has expired or is for another domain:
// it may have been put there.
func ForDomain(dir, domain string) (p Pair, made bool, err error) {
	name := strings.ToLower(domain)
	if err := checkHost(name); err != nil || strings.HasPrefix(name, "*") {
		return Pair{}, false, errors.Join(errors.New("no certificate can be made for the domain "+domain), err)
	}
	a, _, err := Open(dir)
	if err != nil {
		return Pair{}, false, err
	}
	p, err = a.Server("domain-"+name, []string{name, "*." + name}, DefaultTime, false)
	if errors.Is(err, fs.ErrExist) {
		return Pair{filepath.Join(dir, "domain-"+name+".pem"), filepath.Join(dir, "domain-"+name+"-key.pem")}, false, nil
	}
	return p, err == nil, err
}
