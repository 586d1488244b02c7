package web

// sections are the entries of the navigation, in order; Key opens one behind g.
var sections = []section{
	{Name: "overview", Path: "/", Title: "Overview", Key: "o"},
	{Name: "queues", Path: "/queues", Title: "Queues", Key: "q"},
	{Name: "exchanges", Path: "/exchanges", Title: "Exchanges", Key: "e"},
	{Name: "groups", Path: "/groups", Title: "Groups", Key: "g"},
	{Name: "jobs", Path: "/jobs", Title: "Jobs", Key: "j"},
	{Name: "connections", Path: "/connections", Title: "Connections", Key: "c"},
	{Name: "policies", Path: "/policies", Title: "Policies", Key: "p"},
	{Name: "users", Path: "/users", Title: "Users", Key: "u"},
	{Name: "log", Path: "/log", Title: "Log", Key: "l", tags: []string{"monitoring"}},
	{Name: "audit", Path: "/audit", Title: "Audit", Key: "a", tags: []string{"administrator"}},
}

// The views.
var (
	overviewView = &view{path: "/{$}", section: "overview", file: "overview", every: 5, build: (*visit).overview}
	queuesView   = &view{path: "/queues", section: "queues", file: "queues", every: 5, build: (*visit).queues}
	queueView    = &view{path: "/queue", section: "queues", file: "queue", every: 3, build: (*visit).queue}

	exchangesView   = &view{path: "/exchanges", section: "exchanges", file: "exchanges", every: 15, build: (*visit).exchanges}
	exchangeView    = &view{path: "/exchange", section: "exchanges", file: "exchange", build: (*visit).exchange}
	connectionsView = &view{path: "/connections", section: "connections", file: "connections", every: 5, build: (*visit).connections}
	connectionView  = &view{path: "/connection", section: "connections", file: "connection", every: 3, build: (*visit).connection}
	policiesView    = &view{path: "/policies", section: "policies", file: "policies", build: (*visit).policies}
	usersView       = &view{path: "/users", section: "users", file: "users", build: (*visit).users}
	userView        = &view{path: "/user", section: "users", file: "user", build: (*visit).user}
	groupsView      = &view{path: "/groups", section: "groups", file: "groups", every: 10, build: (*visit).groups}
	groupView       = &view{path: "/group", section: "groups", file: "group", every: 5, build: (*visit).group}
	logView         = &view{path: "/log", section: "log", file: "lines", every: 5, build: (*visit).logPage}
	auditView       = &view{path: "/audit", section: "audit", file: "lines", every: 5, build: (*visit).auditPage}
	messagesView    = &view{path: "/messages", section: "queues", file: "messages", build: (*visit).messages}
	replayView      = &view{path: "/replay", section: "queues", file: "replay", build: (*visit).replayPage}
	redriveView     = &view{path: "/redrive", section: "queues", file: "redrive", build: (*visit).redrivePage}
	jobsView        = &view{path: "/jobs", section: "jobs", file: "jobs", every: 5, build: (*visit).jobs}
	jobView         = &view{path: "/job", section: "jobs", file: "job", every: 1, build: (*visit).job}
)

var views = []*view{overviewView, queuesView, queueView, exchangesView, exchangeView, connectionsView, connectionView, policiesView, usersView, userView, groupsView, groupView, logView, auditView, messagesView, replayView, redriveView, jobsView, jobView}

// acts are what forms do.
var acts = []*act{
	{path: "/queues/declare", form: "declare", on: queuesView, do: (*visit).declareQueue},
	{path: "/queue/publish", form: "publish", on: queueView, do: (*visit).publishToQueue},
	{path: "/queue/get", form: "get", on: queueView, do: (*visit).getMessages},
	{path: "/queue/purge", form: "purge", on: queueView, do: (*visit).purgeQueue},
	{path: "/queue/delete", form: "delete", on: queueView, do: (*visit).deleteQueue},
	{path: "/queue/bind", form: "bind", on: queueView, do: (*visit).bindQueue},
	{path: "/queue/unbind", form: "bind", on: queueView, do: (*visit).unbindQueue},

	{path: "/exchanges/declare", form: "declare", on: exchangesView, do: (*visit).declareExchange},
	{path: "/exchange/publish", form: "publish", on: exchangeView, do: (*visit).publishToExchange},
	{path: "/exchange/bind", form: "bind", on: exchangeView, do: (*visit).bindExchange},
	{path: "/exchange/unbind", form: "bind", on: exchangeView, do: (*visit).unbindExchange},
	{path: "/exchange/delete", form: "delete", on: exchangeView, do: (*visit).deleteExchange},
	{path: "/connection/close", form: "close", on: connectionView, do: (*visit).closeConnection},

	{path: "/group/reset", form: "reset", on: groupView, do: (*visit).resetGroup},
	{path: "/group/delete", form: "delete", on: groupView, do: (*visit).deleteGroup},

	{path: "/replay", form: "replay", on: replayView, do: (*visit).replay},
	{path: "/redrive", form: "redrive", on: redriveView, do: (*visit).redrive},
	{path: "/job/cancel", form: "job", on: jobView, do: (*visit).cancelJob},
	{path: "/job/resume", form: "job", on: jobView, do: (*visit).resumeJob},
	{path: "/job/drop", form: "job", on: jobView, do: (*visit).dropJob},

	{path: "/users/put", form: "user", on: usersView, do: (*visit).putUser},
	{path: "/user/put", form: "user", on: userView, do: (*visit).putUser},
	{path: "/user/delete", form: "delete", on: userView, do: (*visit).deleteUser},
	{path: "/user/right", form: "right", on: userView, do: (*visit).putRight},
	{path: "/user/drop", form: "right", on: userView, do: (*visit).dropRight},
	{path: "/user/topic", form: "topic", on: userView, do: (*visit).putTopicRight},
	{path: "/user/droptopic", form: "topic", on: userView, do: (*visit).dropTopicRight},
	{path: "/user/limit", form: "limit", on: userView, do: (*visit).putUserLimit},
	{path: "/vhosts/put", form: "vhost", on: usersView, do: (*visit).putVHost},
	{path: "/vhosts/limit", form: "limit", on: usersView, do: (*visit).putVHostLimit},
	{path: "/vhosts/delete", form: "dropvhost", on: usersView, do: (*visit).deleteVHost},
	{path: "/policies/put", form: "policy", on: policiesView, do: (*visit).putPolicy},
	{path: "/policies/delete", form: "policy", on: policiesView, do: (*visit).deletePolicy},
}
