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
// ready needs them. Who wants one of v3 waits for it; v2 is not there until then.
// The list of v3's documents is without their hashes: for those all of them would
// be encoded, and the aggregator, which reads the list every second, would have
// them compared.
func serveOpenAPI(server *genericapiserver.GenericAPIServer, v2 *openapicommon.Config, v3 *openapicommon.OpenAPIV3Config) (buildV3, buildV2 func(), _ error) {
	const root = "/openapi/v3"
	handler := server.Handler
	documented := handler3.OpenAPIV3Discovery{Paths: map[string]handler3.OpenAPIV3DiscoveryGroupVersion{}}
	for _, service := range handler.GoRestfulContainer.RegisteredWebServices() {
		group := service.RootPath()
		documented.Paths[group[1:]] = handler3.OpenAPIV3DiscoveryGroupVersion{ServerRelativeURL: root + group}
	}
	list, err := json.Marshal(documented)
	if err != nil {
		return nil, nil, err
	}

	documents := mux.NewPathRecorderMux("openapi")
	built := make(chan struct{})
	handler.NonGoRestfulMux.HandleFunc(root, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(list)
	})
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
