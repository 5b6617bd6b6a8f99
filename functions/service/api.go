package service

import (
	"net/http"
	"time"

	"k8s.io/apiserver/pkg/endpoints/request"

	"github.com/knit-dev/knit/functions/api/emission"
)

// api sends a request, which is authenticated and authorized by now, to its
// resource. The path was read by the server's RequestInfo filter, the same
// reading that authorization used: the two cannot disagree.
type api struct {
	sources http.Handler
	logs    http.Handler
	sboms   http.Handler
	invoke  http.Handler
	written http.Handler
	letters http.Handler
	events  http.Handler
	taps    http.Handler
}

func newAPI(o Options) *api {
	kept := o.store()
	return &api{
		sources: &sourceHandler{
			store:   kept,
			now:     time.Now,
			max:     o.MaxArchive,
			uploads: newSlots(o.Uploads),
		},
		logs: &logHandler{
			builds:    o.Reader,
			pods:      o.Kube.CoreV1().Pods(o.BuildNamespace),
			store:     kept,
			namespace: o.BuildNamespace,
			streams:   newSlots(o.LogStreams),
		},
		sboms:   &sbomHandler{builds: o.Reader, store: kept, streams: newSlots(sbomReaders)},
		written: &functionLogHandler{reader: o.Reader, store: kept, streams: newSlots(functionLogReaders), now: time.Now},
		invoke: &invokeHandler{
			routes:    routes{reader: o.Reader},
			transport: newInvokeTransport(),
			calls:     newSlots(o.Invocations),
			timeout:   invokeTimeout,
		},
		letters: &deadLetterHandler{letters: o.DeadLetters, calls: newSlots(deadLetterReaders), now: time.Now},
		taps:    &tapHandler{taps: o.Taps, addresses: addresses{reader: o.Cached}, streams: newSlots(tapStreams), timeout: tapTimeout},
		events: &eventHandler{
			addresses: addresses{reader: o.Cached},
			client:    newEventClient(),
			calls:     newSlots(eventSenders),
			timeout:   eventTimeout,
		},
	}
}

func (o Options) store() *store {
	return &store{registry: o.Registry, prefix: o.Prefix, keychain: o.Keychain, transport: o.Transport}
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	info, ok := request.RequestInfoFrom(r.Context())
	if !ok || !info.IsResourceRequest || info.APIGroup != Group || info.APIVersion != Version ||
		info.Namespace == "" || len(info.Parts) > 3 {
		writeError(w, r, noSuchPath(r))
		return
	}
	switch {
	case info.Resource == resourceDeadLetters && info.Subresource == "", info.Resource == resourceRedrives && info.Subresource == "":
		a.letters.ServeHTTP(w, r)
	case info.Name == "": // The others have no lists.
		writeError(w, r, noSuchPath(r))
	case info.Resource == resourceSources && info.Subresource == "":
		a.sources.ServeHTTP(w, r)
	case info.Resource == resourceBuilds && info.Subresource == "log":
		a.logs.ServeHTTP(w, r)
	case info.Resource == resourceBuilds && info.Subresource == "sbom":
		a.sboms.ServeHTTP(w, r)
	case info.Resource == resourceFunctions && info.Subresource == "log":
		a.written.ServeHTTP(w, r)
	case info.Resource == resourceFunctions && info.Subresource == subresourceInvoke:
		a.invoke.ServeHTTP(w, r)
	case (info.Resource == emission.Brokers || info.Resource == emission.Channels) && info.Subresource == subresourceEvents:
		a.events.ServeHTTP(w, r)
	case (info.Resource == emission.Brokers || info.Resource == emission.Channels) && info.Subresource == "log":
		a.taps.ServeHTTP(w, r)
	default:
		writeError(w, r, noSuchPath(r))
	}
}
