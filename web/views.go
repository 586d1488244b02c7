package web

// sections are the entries of the navigation, in order; Key opens one behind g.
var sections = []section{
	{Name: "overview", Path: "/", Title: "Overview", Key: "o"},
	{Name: "queues", Path: "/queues", Title: "Queues", Key: "q"},
}

// The views.
var (
	overviewView = &view{path: "/{$}", section: "overview", file: "overview", every: 5, build: (*visit).overview}
	queuesView   = &view{path: "/queues", section: "queues", file: "queues", every: 5, build: (*visit).queues}
	queueView    = &view{path: "/queue", section: "queues", file: "queue", every: 3, build: (*visit).queue}
)

var views = []*view{overviewView, queuesView, queueView}

// acts are what forms do.
var acts = []*act{
	{path: "/queues/declare", form: "declare", on: queuesView, do: (*visit).declareQueue},
	{path: "/queue/publish", form: "publish", on: queueView, do: (*visit).publishToQueue},
	{path: "/queue/get", form: "get", on: queueView, do: (*visit).getMessages},
	{path: "/queue/purge", form: "purge", on: queueView, do: (*visit).purgeQueue},
	{path: "/queue/delete", form: "delete", on: queueView, do: (*visit).deleteQueue},
	{path: "/queue/bind", form: "bind", on: queueView, do: (*visit).bindQueue},
	{path: "/queue/unbind", form: "bind", on: queueView, do: (*visit).unbindQueue},
}
