package web

import (
	"net/http"
	"strings"
)

// connectionRow is a connection as lists show it.
type connectionRow struct {
	Name, VHost, User, Protocol, State string
	Given                              string `json:"user_provided_name"`
	Channels                           int
	Since                              int64          `json:"connected_at"`
	PeerHost                           string         `json:"peer_host"`
	PeerPort                           int            `json:"peer_port"`
	TLS                                bool           `json:"ssl"`
	TLSVersion                         string         `json:"ssl_protocol"`
	Mechanism                          string         `json:"auth_mechanism"`
	FrameMax                           float64        `json:"frame_max"`
	Heartbeat                          int            `json:"timeout"`
	In                                 float64        `json:"recv_oct"`
	Out                                float64        `json:"send_oct"`
	InDetails                          details        `json:"recv_oct_details"`
	OutDetails                         details        `json:"send_oct_details"`
	Client                             map[string]any `json:"client_properties"`
}

// Product is what the client calls itself.
func (c *connectionRow) Product() string {
	var parts []string
	for _, name := range []string{"product", "version"} {
		if text, ok := c.Client[name].(string); ok && text != "" {
			parts = append(parts, cut(40, text))
		}
	}
	return strings.Join(parts, " ")
}

// Settings are what the client told of itself.
func (c *connectionRow) Settings() []setting { return settingsOf(c.Client) }

// channelRow is a channel as the page of its connection shows it.
type channelRow struct {
	Name          string
	Number        int
	Confirm       bool
	Transactional bool
	Consumers     int  `json:"consumer_count"`
	Prefetch      int  `json:"prefetch_count"`
	Unacked       int  `json:"messages_unacknowledged"`
	Stats         flow `json:"message_stats"`
}

const connectionColumns = "name,vhost,user,protocol,state,user_provided_name,channels,connected_at,peer_host,peer_port,ssl,recv_oct,send_oct,recv_oct_details,send_oct_details,client_properties"

// connectionsData is what the list of connections shows.
type connectionsData struct {
	*listing
	List *paged[connectionRow]
	Host string
}

func (v *visit) connections() (string, any, error) {
	l, err := v.look("/connections", "name", "user", "vhost", "protocol", "channels", "connected_at", "recv_oct_details.rate", "send_oct_details.rate")
	if err != nil {
		return "", nil, err
	}
	only := l.VHost
	l.VHost = "" // the API has the list of a virtual host elsewhere
	var list *paged[connectionRow]
	if only == "" {
		list, err = pagedList[connectionRow](v, l, "connections", "columns", connectionColumns)
	} else {
		list, err = pagedList[connectionRow](v, l, api("vhosts", only, "connections"), "columns", connectionColumns)
	}
	l.VHost = only
	if err != nil {
		return "", nil, err
	}
	return "Connections", &connectionsData{listing: l, List: list, Host: v.r.Host}, nil
}

// connectionData is what the page of a connection shows.
type connectionData struct {
	connectionRow
	List     []channelRow `json:"-"`
	Traffic  *chart       `json:"-"`
	MayClose bool         `json:"-"`
}

func (v *visit) connection() (string, any, error) {
	name := v.r.URL.Query().Get("name")
	d := &connectionData{}
	if err := v.get(d, api("connections", name)); err != nil {
		return "", nil, err
	}
	if d.Protocol != "Kafka" {
		if err := v.get(&d.List, api("connections", name, "channels")); err != nil {
			return "", nil, err
		}
	}
	samples := v.note("connection "+name, d.In, d.Out)
	d.Traffic = draw("Bytes a second", func(f float64) string { return bytesText(f) }, drawn{"from the client", "c1", perSecond(samples, 0)}, drawn{"to the client", "c2", perSecond(samples, 1)})
	d.MayClose = v.has("administrator") || d.User == v.name
	return name, d, nil
}

func (v *visit) closeConnection() (string, string, error) {
	if err := v.act(http.MethodDelete, api("connections", v.r.URL.Query().Get("name")), nil, nil); err != nil {
		return "", "", err
	}
	return "/connections", "The connection is closed. A client that connects again by itself will be back.", nil
}
