// The API page: Swagger UI on this server's own document, with nothing fetched from elsewhere.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#api", deepLinking: true, validatorUrl: null, defaultModelsExpandDepth: 0 });
