{{/* The operator's flags, as far as values ask for others than its own defaults. */}}
{{- define "trading-operator.args" -}}
{{- $args := list }}
{{- with .Values.manager.leaseDuration }}{{ $args = append $args (printf "--leader-elect-lease-duration=%s" .) }}{{ end }}
{{- range $venue, $gateway := .Values.manager.venueGateways }}{{ $args = append $args (printf "--venue-gateway=%s=%s" $venue $gateway) }}{{ end }}
{{- if ne .Values.webhook.certificate "cert-manager" }}{{ $args = append $args "--webhook-certificate=self-managed" }}{{ end }}
{{- with .Values.endpoint.issuer }}{{ $args = append $args (printf "--endpoint-issuer=%s" .) }}{{ end }}
{{- with .Values.endpoint.ingressClass }}{{ $args = append $args (printf "--endpoint-ingress-class=%s" .) }}{{ end }}
{{- with .Values.endpoint.roots }}{{ $args = append $args (printf "--endpoint-roots=/etc/trading/roots/%s" .key) }}{{ end }}
{{- range $host, $address := .Values.endpoint.resolve }}{{ $args = append $args (printf "--endpoint-resolve=%s=%s" $host $address) }}{{ end }}
{{- if ne .Values.internalIssuer.name "trading-internal" }}{{ $args = append $args (printf "--internal-issuer=ClusterIssuer/%s" .Values.internalIssuer.name) }}{{ end }}
{{- with $args }}{{ toYaml . }}{{ end }}
{{- end }}
