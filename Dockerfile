# An image for each service, one target each: docker build --target gateway . (core, webhook-relay; connector, all three in one, is the
# default). They hold the product alone: no development dependency, nothing of test/. Only the target engine, the simulated one for
# a sandbox, has its folder of test/. No signal opens a debugger. What an image cannot say, whoever runs it should: no core files and a
# bound on memory and processes, as docker-compose.yml has them.

FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:24-slim AS product
ENV NODE_ENV=production
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY package.json run.sh connector.ts ./
COPY proto ./proto
COPY gateway ./gateway
COPY core ./core
COPY webhook-relay ./webhook-relay
COPY ops ./ops
# The user node, by number, so that Kubernetes can see that it is not root.
USER 1000:1000
STOPSIGNAL SIGTERM

FROM product AS gateway
EXPOSE 8080 8081
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:8081/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["sh", "run.sh", "gateway/main.ts"]

FROM product AS core
EXPOSE 50051 50052
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:50052/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["sh", "run.sh", "core/main.ts"]

FROM product AS webhook-relay
EXPOSE 8082
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:8082/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["sh", "run.sh", "webhook-relay/main.ts"]

FROM product AS engine
COPY test/engine ./test/engine
USER 0:0
RUN install --directory --owner=1000 --group=1000 /data
USER 1000:1000
EXPOSE 50061 50062
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["node", "-e", "require('node:net').connect(50061, '127.0.0.1').on('connect', () => process.exit(0)).on('error', () => process.exit(1))"]
CMD ["sh", "run.sh", "test/engine/main.ts"]

FROM product AS connector
EXPOSE 8080 8081 50051 50052 8082
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["node", "-e", "fetch('http://127.0.0.1:8081/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["sh", "run.sh", "connector.ts"]
