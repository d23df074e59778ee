# The S3-compatible object store: Versity S3 Gateway (Apache-2.0) over a plain folder, so a backup is a copy of files.
FROM versity/versitygw:v1.7.0

RUN adduser -D -u 10001 foundry \
    && mkdir /data \
    && chown foundry:foundry /data

COPY infra/images/entrypoint.sh /usr/local/bin/with-secrets

USER 10001:10001
VOLUME /data
ENTRYPOINT ["with-secrets"]
CMD ["versitygw", "posix", "/data"]
