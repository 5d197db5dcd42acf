package lab

import (
	"encoding/json"
	"net/http"

	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/apiserver/pkg/server/mux"
	"k8s.io/apiserver/pkg/server/routes"
	openapicommon "k8s.io/kube-openapi/pkg/common"
	"k8s.io/kube-openapi/pkg/handler3"
)

// serveOpenAPI serves the documents of a server's APIs, which buildV3 and buildV2
// make: that takes half a second, and nothing on the way to a control plane that is
// ready needs them. Until then v3 names the groups, for the aggregator, and lets
// those who want one wait; v2 is not there.
func serveOpenAPI(server *genericapiserver.GenericAPIServer, v2 *openapicommon.Config, v3 *openapicommon.OpenAPIV3Config) (buildV3, buildV2 func(), _ error) {
	const root = "/openapi/v3"
	handler := server.Handler
	groups := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	for _, service := range handler.GoRestfulContainer.RegisteredWebServices() {
		group := service.RootPath()
		groups.Paths[group[1:]] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: root + group}
	}
	names, err := json.Marshal(groups)
	if err != nil {
		return nil, nil, err
	}

	documents := mux.NewPathRecorderMux("openapi")
	built := make(chan struct{})
	handler.NonGoRestfulMux.Handle(root, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-built:
			documents.ServeHTTP(w, r)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(names)
		}
	}))
	handler.NonGoRestfulMux.HandlePrefix(root+"/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-built:
			documents.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	return func() {
		routes.OpenAPI{V3Config: v3}.InstallV3(handler.GoRestfulContainer, documents)
		close(built)
	}, func() {
		routes.OpenAPI{Config: v2}.InstallV2(handler.GoRestfulContainer, handler.NonGoRestfulMux)
	}, nil
}
